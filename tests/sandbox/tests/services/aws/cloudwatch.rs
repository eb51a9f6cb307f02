//! PutMetricData.

use ciborium::Value;

use super::client::{Aws, Call};

const PATH: &str = "/service/GraniteServiceVersion20100801/operation/PutMetricData";

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (text(key), value)).collect())
}

fn datum(more: Vec<(&str, Value)>) -> Value {
    let mut entries = vec![("MetricName", text("Meetings"))];
    entries.extend(more);
    map(entries)
}

fn value(number: f64) -> (&'static str, Value) {
    ("Value", Value::Float(number))
}

fn dimensions(count: usize) -> (&'static str, Value) {
    let one = |index| map(vec![("Name", text(&format!("d{index}"))), ("Value", text("x"))]);
    ("Dimensions", Value::Array((0..count).map(one).collect()))
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

fn at(seconds: f64) -> (&'static str, Value) {
    ("Timestamp", Value::Tag(1, Box::new(Value::Float(seconds))))
}

async fn put(aws: &Aws, namespace: &str, data: Vec<Value>) -> (u16, String) {
    let body = map(vec![("Namespace", text(namespace)), ("MetricData", Value::Array(data))]);
    let headers = [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];
    send(aws, PATH, &headers, &body).await
}

/// The status, and the error code when there is one.
async fn send(aws: &Aws, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, String) {
    let mut bytes = Vec::new();
    ciborium::into_writer(body, &mut bytes).unwrap();
    let call = Call::post("monitoring", path, headers, bytes);
    let (status, bytes) = aws.send_with(&call, &aws.keys()).await;
    let answer: Value = ciborium::from_reader(bytes.as_slice()).unwrap();
    let kind = answer.as_map().unwrap().iter().find(|(key, _)| key.as_text() == Some("__type"));
    let code = kind.map(|(_, kind)| kind.as_text().unwrap().rsplit('#').next().unwrap().to_owned());
    (status.as_u16(), code.unwrap_or_default())
}

#[tokio::test]
async fn data_are_stored() {
    let aws = Aws::start().await;
    let dimension = map(vec![("Name", text("Group")), ("Value", text("bbb-fleet"))]);
    let full = datum(vec![
        ("Value", Value::Integer(3.into())),
        ("Unit", text("Count")),
        at(now()),
        ("Dimensions", Value::Array(vec![dimension])),
    ]);
    let set = map(vec![
        ("SampleCount", Value::Float(2.0)),
        ("Sum", Value::Float(7.0)),
        ("Minimum", Value::Float(3.0)),
        ("Maximum", Value::Float(4.0)),
    ]);
    let data = vec![full, datum(vec![value(0.5), dimensions(30)]), datum(vec![("StatisticValues", set)])];
    assert_eq!(put(&aws, "BBB", data).await, (200, String::new()));
    let stored = aws.cloud.cloudwatch.data();
    assert_eq!(stored.len(), 3);
    assert_eq!((stored[0].namespace.as_str(), stored[0].name.as_str()), ("BBB", "Meetings"));
    assert_eq!(stored[0].dimensions["Group"], "bbb-fleet");
    assert_eq!((stored[0].values.as_slice(), stored[0].unit.as_deref()), ([3.0].as_slice(), Some("Count")));
    assert_eq!(stored[2].values, [7.0]);
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_nothing_stored() {
    let aws = Aws::start().await;
    let good = || datum(vec![value(1.0)]);
    let invalid = "InvalidParameterValueException";
    let missing = "MissingRequiredParameterException";
    let rows = [
        ("an empty namespace", "", vec![good()], missing),
        ("AWS's namespace", "AWS/EC2", vec![good()], invalid),
        ("no data", "BBB", vec![], missing),
        ("1001 data", "BBB", vec![good(); 1001], invalid),
        ("31 dimensions", "BBB", vec![datum(vec![value(1.0), dimensions(31)])], invalid),
        ("NaN", "BBB", vec![good(), datum(vec![value(f64::NAN)])], invalid),
        ("infinity", "BBB", vec![datum(vec![value(f64::INFINITY)])], invalid),
        ("too large", "BBB", vec![datum(vec![value(1e300)])], invalid),
        ("no value", "BBB", vec![datum(vec![])], missing),
        ("no name", "BBB", vec![map(vec![value(1.0)])], missing),
        ("an unknown unit", "BBB", vec![datum(vec![value(1.0), ("Unit", text("Meetings"))])], invalid),
        ("too old", "BBB", vec![datum(vec![value(1.0), at(now() - 15.0 * 86_400.0)])], invalid),
        ("too new", "BBB", vec![datum(vec![value(1.0), at(now() + 3.0 * 3600.0)])], invalid),
        (
            "a number as name",
            "BBB",
            vec![map(vec![("MetricName", Value::Float(1.0)), value(1.0)])],
            "SerializationException",
        ),
        (
            "an odd resolution",
            "BBB",
            vec![datum(vec![value(1.0), ("StorageResolution", Value::Integer(5.into()))])],
            invalid,
        ),
        (
            "value and values",
            "BBB",
            vec![datum(vec![value(1.0), ("Values", Value::Array(vec![Value::Float(1.0)]))])],
            "InvalidParameterCombinationException",
        ),
    ];
    for (what, namespace, data, code) in rows {
        assert_eq!(put(&aws, namespace, data).await, (400, code.to_owned()), "{what}");
    }
    assert!(aws.cloud.cloudwatch.data().is_empty());
    assert_eq!(put(&aws, "BBB", vec![good(); 1000]).await.0, 200);
}

#[tokio::test]
async fn other_protocols_are_refused() {
    let aws = Aws::start().await;
    let body =
        map(vec![("Namespace", text("BBB")), ("MetricData", Value::Array(vec![datum(vec![value(1.0)])]))]);
    let cbor = ("smithy-protocol", "rpc-v2-cbor");
    for (path, headers, code) in [
        (PATH, vec![], "UnknownOperationException"),
        (PATH, vec![cbor, ("content-encoding", "gzip")], "SerializationException"),
        (
            "/service/GraniteServiceVersion20100801/operation/DeleteAlarms",
            vec![cbor],
            "UnknownOperationException",
        ),
    ] {
        assert_eq!(send(&aws, path, &headers, &body).await, (400, code.to_owned()), "{path} {headers:?}");
    }
}
