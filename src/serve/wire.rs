//! The AWS JSON 1.1 protocol: which operation a request names, its body as JSON, and answers and errors as bytes.
//!
//! What AWS answers was taken from its own answers where somebody recorded them: no `x-amzn-ErrorType`, an unknown operation and a body
//! that is no JSON without a message, a capital `Message` in what its framework says before an operation is reached.

use std::fmt;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::auth::Refusal;
use crate::clock::Timestamp;
use crate::kms::fields::wipe;
use crate::kms::{AwsError, Cause, KmsError, Operation};

/// What an answer is.
pub type Answer = Response<Full<Bytes>>;

const MEDIA_TYPE: &str = "application/x-amz-json-1.1";
/// Names of operations come after this one of the service (service model, `targetPrefix`).
const TARGET_PREFIX: &str = "TrentService.";
/// Room for an answer that holds a secret, in bytes: it must not grow, since what a vector outgrows is not wiped.
const ANSWER_LEN: usize = 32 * 1024;

/// The operation that a request names in `X-Amz-Target`.
pub fn operation(headers: &HeaderMap) -> Option<Operation> {
    let mut targets = headers.get_all("x-amz-target").iter();
    let (target, None) = (targets.next()?, targets.next()) else { return None };
    Operation::from_name(target.to_str().ok()?.strip_prefix(TARGET_PREFIX)?)
}

/// Reads a body, which is an object also where it asks for nothing in particular.
///
/// # Errors
/// `SerializationException`, as AWS's framework says it.
pub fn read(body: &[u8]) -> Result<Value, KmsError> {
    let malformed = || KmsError::bare(AwsError::Serialization);
    let Once(value) = serde_json::from_slice(body).map_err(|_| malformed())?;
    match value {
        Value::Object(_) => Ok(value),
        Value::Array(_) => {
            Err(KmsError::new(AwsError::Serialization, "Start of list found where not expected"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(malformed()),
    }
}

/// A JSON value in which no object names a member twice: which of the two counts would be a matter of who reads it.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Once(value))) = members.next_entry::<String, Once>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

/// The answer of an operation, as AWS gives it: without output, its body is empty.
pub fn answered(output: Option<Value>) -> Answer {
    let Some(mut output) = output else { return answer(StatusCode::OK, Bytes::new()) };
    let mut bytes = Zeroizing::new(Vec::with_capacity(ANSWER_LEN));
    let written = serde_json::to_writer(&mut *bytes, &output);
    wipe(&mut output);
    match written {
        Ok(()) => answer(StatusCode::OK, Bytes::from_owner(bytes)),
        Err(_) => internal(),
    }
}

/// An operation's error. What lies beneath the service is not told to clients: the caller logs it.
pub fn failed(error: &KmsError) -> Answer {
    match error.cause {
        Cause::Refused => {
            let name = error.error.name();
            let status = if error.error == AwsError::Internal {
                StatusCode::INTERNAL_SERVER_ERROR
            } else {
                StatusCode::BAD_REQUEST
            };
            let member = message_member(error.error);
            error_answer(status, name, error.message.as_deref().map(|message| (member, message)))
        }
        // The change is made; who retries it does no harm.
        Cause::Unconfirmed => {
            let name = AwsError::Internal.name();
            let message = error.message.as_deref().map(|message| ("message", message));
            error_answer(StatusCode::INTERNAL_SERVER_ERROR, name, message)
        }
        Cause::Store | Cause::Tampered | Cause::Audit => internal(),
    }
}

/// AWS spells `message` with a capital where the framework says it and not the service.
const fn message_member(error: AwsError) -> &'static str {
    if matches!(error, AwsError::AccessDenied | AwsError::Serialization) { "Message" } else { "message" }
}

/// A failure of the server itself.
pub fn internal() -> Answer {
    let message = "The request failed because of an internal error; the log of the server says more.";
    error_answer(StatusCode::INTERNAL_SERVER_ERROR, AwsError::Internal.name(), Some(("message", message)))
}

/// A request that is not let in.
pub fn refused(refusal: &Refusal) -> Answer {
    error_answer(StatusCode::BAD_REQUEST, refusal.name, Some(("message", &refusal.message)))
}

/// An error of that name, with its message by the member that it stands in.
pub fn error_answer(status: StatusCode, name: &str, message: Option<(&str, &str)>) -> Answer {
    let mut body = json!({ "__type": name });
    if let Some((member, message)) = message {
        body[member] = Value::from(message);
    }
    answer(status, Bytes::from(body.to_string()))
}

fn answer(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate, private"));
    answer
}

/// Text for people and monitors.
pub fn text(status: StatusCode, content_type: &'static str, text: String) -> Answer {
    let mut answer = answer(status, Bytes::from(text));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Names the request by its id.
pub fn identify(answer: &mut Answer, id: Uuid) {
    let mut text = Uuid::encode_buffer();
    let text: &str = id.hyphenated().encode_lower(&mut text);
    if let Ok(value) = HeaderValue::from_str(text) {
        answer.headers_mut().insert("x-amzn-requestid", value);
    }
}

/// Says when it was answered (RFC 9110, 6.6.1). hyper would, too, but keeps the text until the clock has passed the second after it: on a clock
/// that was ahead and is set right that may be a year, and SDKs correct their own clock by it.
pub fn date(answer: &mut Answer, now: Timestamp) {
    let text = jiff::Timestamp::from_millisecond(now.as_millis())
        .map(|now| now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    if let Some(value) = text.ok().and_then(|text| HeaderValue::from_str(&text).ok()) {
        answer.headers_mut().insert(DATE, value);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((".*", inner), 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_a_body_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn what_is_json_is_read_as_json_is(value in json_value()) {
            let text = value.to_string();
            let read = read(text.as_bytes());
            match &value {
                Value::Object(_) => prop_assert_eq!(read.ok(), serde_json::from_str(&text).ok()),
                _ => prop_assert_eq!(read.unwrap_err().error, AwsError::Serialization),
            }
        }
    }

    async fn parts(answer: Answer) -> (u16, Value) {
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn what_lies_beneath_the_service_is_not_told_to_clients() {
        for cause in [Cause::Store, Cause::Tampered, Cause::Audit] {
            let (status, body) = parts(failed(&KmsError::failed(cause, "/home/me/keys.db: no space"))).await;
            assert_eq!((status, &body["__type"]), (500, &json!("KMSInternalException")));
            assert!(!body.to_string().contains("keys.db"), "{body}");
        }
    }

    #[test]
    fn a_date_is_the_clock_s_also_where_it_was_set_back() {
        let mut answer = internal();
        for (seconds, text) in [
            (1_830_499_710, "Mon, 03 Jan 2028 08:08:30 GMT"),
            (1_795_939_710, "Sun, 29 Nov 2026 08:08:30 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            date(&mut answer, Timestamp::from_millis(seconds * 1000));
            assert_eq!(answer.headers()[DATE], text);
        }
    }
}
