//! Reading and validation of PutMetricData.

use std::collections::BTreeMap;

use ciborium::Value;

use super::Datum;
use crate::fleet::Refusal;

/// The units that CloudWatch knows.
const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// Reads the data of a request, all or none. `now` is in seconds since 1970.
pub(super) fn read(body: &Value, now: f64) -> Result<Vec<Datum>, Refusal> {
    let namespace = text(body, "Namespace")?.ok_or_else(|| missing("Namespace"))?;
    if namespace.is_empty() {
        return Err(missing("Namespace"));
    }
    if namespace.starts_with("AWS/") || namespace.chars().count() > 255 || namespace.starts_with(':') {
        return Err(invalid(format!("The value {namespace} for parameter Namespace is invalid.")));
    }
    let data = array(body, "MetricData")?.ok_or_else(|| missing("MetricData"))?;
    if data.is_empty() {
        return Err(missing("MetricData"));
    }
    if data.len() > 1000 {
        let message = "The collection MetricData must not have a size greater than 1000.";
        return Err(invalid(message));
    }
    data.iter().map(|datum| read_datum(&namespace, datum, now)).collect()
}

fn read_datum(namespace: &str, datum: &Value, now: f64) -> Result<Datum, Refusal> {
    let name =
        text(datum, "MetricName")?.filter(|name| !name.is_empty()).ok_or_else(|| missing("MetricName"))?;
    if name.chars().count() > 255 {
        return Err(invalid("The parameter MetricName must be shorter than 256 characters."));
    }
    let unit = text(datum, "Unit")?;
    if let Some(unit) = unit.as_ref().filter(|unit| !UNITS.contains(&unit.as_str())) {
        return Err(invalid(format!("The parameter Unit must be a known unit, not {unit}.")));
    }
    if let Some(resolution) = number(datum, "StorageResolution")?.filter(|value| ![1.0, 60.0].contains(value))
    {
        return Err(invalid(format!("The parameter StorageResolution must be 1 or 60, not {resolution}.")));
    }
    let timestamp = time(datum, now)?;
    let dimensions = dimensions(datum)?;
    Ok(Datum { namespace: namespace.to_owned(), name, dimensions, values: values(datum)?, unit, timestamp })
}

/// Reads the values: exactly one of `Value`, `Values` and `StatisticValues` must be there.
fn values(datum: &Value) -> Result<Vec<f64>, Refusal> {
    let values = match (number(datum, "Value")?, array(datum, "Values")?, field(datum, "StatisticValues")) {
        (Some(value), None, None) => vec![value],
        (None, Some(values), None) if (1..=150).contains(&values.len()) => {
            let numbers: Option<Vec<f64>> = values.iter().map(as_number).collect();
            numbers.ok_or_else(|| malformed("Values"))?
        }
        (None, Some(_), None) => return Err(invalid("The collection Values must have 1 to 150 members.")),
        (None, None, Some(set)) => statistics(set)?,
        (None, None, None) => return Err(missing("Value")),
        _ => {
            let message = "The parameters Value, Values and StatisticValues are mutually exclusive.";
            return Err(Refusal::new("InvalidParameterCombinationException", message));
        }
    };
    let limit = 2_f64.powi(360);
    match values.iter().find(|value| !value.is_finite() || value.abs() > limit) {
        None => Ok(values),
        Some(value) => Err(invalid(format!("The value {value} for parameter Value is invalid."))),
    }
}

/// Returns the sum of a statistic set, which must be complete.
fn statistics(set: &Value) -> Result<Vec<f64>, Refusal> {
    for name in ["SampleCount", "Minimum", "Maximum"] {
        number(set, name)?.ok_or_else(|| missing(name))?;
    }
    Ok(vec![number(set, "Sum")?.ok_or_else(|| missing("Sum"))?])
}

fn dimensions(datum: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    let list = array(datum, "Dimensions")?.unwrap_or_default();
    if list.len() > 30 {
        return Err(invalid("The collection Dimensions must not have a size greater than 30."));
    }
    let mut dimensions = BTreeMap::new();
    for dimension in list {
        let part = |name: &'static str| {
            let value = text(dimension, name)?.filter(|value| !value.trim().is_empty());
            value.ok_or_else(|| missing(name))
        };
        let (name, value) = (part("Name")?, part("Value")?);
        let ascii = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if name.len() > 255 || value.len() > 1024 || name.starts_with(':') || !ascii(&name) || !ascii(&value)
        {
            return Err(invalid(format!("The dimension {name}={value} is invalid.")));
        }
        if dimensions.insert(name.clone(), value).is_some() {
            return Err(invalid(format!("No duplicate dimension names are allowed: {name}.")));
        }
    }
    Ok(dimensions)
}

/// Reads a timestamp, which may lie between two weeks back and two hours ahead.
fn time(datum: &Value, now: f64) -> Result<Option<f64>, Refusal> {
    let Some(value) = field(datum, "Timestamp") else { return Ok(None) };
    // JSON has no tags.
    let seconds = if let Value::Tag(1, seconds) = value { seconds } else { value };
    let time = as_number(seconds).filter(|time| time.is_finite()).ok_or_else(|| malformed("Timestamp"))?;
    if time < now - 14.0 * 86_400.0 || time > now + 2.0 * 3600.0 {
        let message = "The parameter Timestamp must be within two weeks before and two hours after now.";
        return Err(invalid(message));
    }
    Ok(Some(time))
}

fn field<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let entries = map.as_map()?;
    let (_, value) = entries.iter().find(|(key, _)| key.as_text() == Some(name))?;
    (!value.is_null()).then_some(value)
}

fn text(map: &Value, name: &'static str) -> Result<Option<String>, Refusal> {
    let value = field(map, name);
    value.map(|value| value.as_text().map(str::to_owned).ok_or_else(|| malformed(name))).transpose()
}

fn array<'a>(map: &'a Value, name: &'static str) -> Result<Option<&'a [Value]>, Refusal> {
    let value = field(map, name);
    value.map(|value| value.as_array().map(Vec::as_slice).ok_or_else(|| malformed(name))).transpose()
}

fn number(map: &Value, name: &'static str) -> Result<Option<f64>, Refusal> {
    field(map, name).map(|value| as_number(value).ok_or_else(|| malformed(name))).transpose()
}

#[allow(clippy::cast_precision_loss, reason = "CloudWatch's values are doubles")]
fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(i128::from(*number) as f64),
        _ => None,
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::new("MissingRequiredParameterException", format!("The parameter {name} is required."))
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameterValueException", message)
}

fn malformed(name: &str) -> Refusal {
    Refusal::new("SerializationException", format!("The parameter {name} has the wrong type."))
}
