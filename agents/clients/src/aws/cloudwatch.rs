//! CloudWatch's API, for the host's own metrics. One call each, no retry: newer data follow a minute later.

use std::time::Duration;

use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use plan::metrics::{Datum, Unit};
use tokio::time::timeout;

use crate::aws;

/// A CloudWatch call that failed. The variant says what would have to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The instance role may not send data into this namespace.
    #[error("CloudWatch PutMetricData into {namespace}: {message}; the instance role has to allow it")]
    NotAllowed {
        /// The namespace.
        namespace: String,
        /// CloudWatch's message.
        message: String,
    },
    /// CloudWatch did not answer, is throttling or has an internal error, or there are no credentials.
    #[error("CloudWatch PutMetricData: {0}")]
    Passing(String),
    /// CloudWatch does not accept these data.
    #[error("CloudWatch PutMetricData into {namespace}: {message}")]
    Refused {
        /// The namespace.
        namespace: String,
        /// The service's message.
        message: String,
    },
}

impl Error {
    fn new<E>(namespace: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (namespace, message) = (namespace.to_owned(), aws::explain(error));
        match error.code() {
            _ if aws::is_retryable(error) => Self::Passing(message),
            Some(code) if code.contains("AccessDenied") => Self::NotAllowed { namespace, message },
            _ => Self::Refused { namespace, message },
        }
    }
}

/// CloudWatch in the host's region.
#[derive(Clone, Debug)]
pub struct CloudWatch {
    client: aws_sdk_cloudwatch::Client,
}

impl CloudWatch {
    /// Creates a client for `region`, the host's own, whatever region the settings name: the group's alarms and
    /// scaling policies are there.
    pub fn new(config: &aws_config::SdkConfig, region: &str) -> Self {
        let region = aws_sdk_cloudwatch::config::Region::new(region.to_owned());
        let config = aws_sdk_cloudwatch::config::Builder::from(config)
            .region(region)
            // The body has a few kilobytes at most.
            .disable_request_compression(true)
            .build();
        Self { client: aws_sdk_cloudwatch::Client::from_conf(config) }
    }

    /// Sends the data (PutMetricData), once for each dimension (name and value), in one call that takes `patience` at
    /// most. CloudWatch takes 1000 data in one call and stamps them with their time of arrival.
    pub async fn put(
        &self,
        namespace: &str,
        dimensions: &[(&str, String)],
        data: &[Datum],
        patience: Duration,
    ) -> Result<(), Error> {
        let data = dimensions.iter().flat_map(|(name, value)| {
            let dimension = Dimension::builder().name(*name).value(value).build();
            data.iter().map(move |datum| metric_datum(datum, dimension.clone()))
        });
        let request = self.client.put_metric_data().namespace(namespace);
        let sent = request.set_metric_data(Some(data.collect())).send();
        match timeout(patience, sent).await {
            Ok(answer) => answer.map(drop).map_err(|error| Error::new(namespace, &error)),
            Err(_) => Err(Error::Passing("no answer in time".to_owned())),
        }
    }
}

fn metric_datum(datum: &Datum, dimension: Dimension) -> MetricDatum {
    let unit = match datum.metric.unit() {
        Unit::Count => StandardUnit::Count,
        Unit::Seconds => StandardUnit::Seconds,
    };
    let named = MetricDatum::builder().metric_name(datum.metric.name()).dimensions(dimension);
    named.unit(unit).value(datum.value).build()
}
