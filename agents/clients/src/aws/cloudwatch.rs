//! CloudWatch's API, as far as a host tells how it stands. One call each, no retry: a minute later there are newer data.

use std::time::Duration;

use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use plan::metrics::{Datum, Unit};
use tokio::time::timeout;

use crate::aws;

/// Why CloudWatch has not taken data: the kind tells what would have to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The instance role may not send data into this namespace.
    #[error("CloudWatch PutMetricData into {namespace}: {message}; the instance role has to allow it")]
    NotAllowed {
        /// The namespace.
        namespace: String,
        /// CloudWatch's words.
        message: String,
    },
    /// It did not answer, is throttling, or has a fault of its own; or there are no credentials.
    #[error("CloudWatch PutMetricData: {0}")]
    Passing(String),
    /// It does not take data like these.
    #[error("CloudWatch PutMetricData into {namespace}: {message}")]
    Refused {
        /// The namespace.
        namespace: String,
        /// What answered.
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
            Some(code) if code.contains("AccessDenied") => Self::NotAllowed { namespace, message },
            _ if aws::is_retryable(error) => Self::Passing(message),
            _ => Self::Refused { namespace, message },
        }
    }
}

/// CloudWatch in the region that the host is in.
#[derive(Clone, Debug)]
pub struct CloudWatch {
    client: aws_sdk_cloudwatch::Client,
}

impl CloudWatch {
    /// CloudWatch in `region`, whatever region the settings have: the group's alarms and scaling policies are there.
    pub fn new(config: &aws_config::SdkConfig, region: &str) -> Self {
        let region = aws_sdk_cloudwatch::config::Region::new(region.to_owned());
        let config = aws_sdk_cloudwatch::config::Builder::from(config)
            .region(region)
            // A few kilobytes at most.
            .disable_request_compression(true)
            .build();
        Self { client: aws_sdk_cloudwatch::Client::from_conf(config) }
    }

    /// Sends the data (PutMetricData), each once for every dimension (name and value), in one call that takes `patience` at
    /// most. CloudWatch takes 1000 data in one call, and stamps them with the time at which they arrive.
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
