use std::convert::Infallible;

use hyper::header::{HeaderName, HeaderValue};
use proptest::prelude::*;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::*;

/// Requests that somebody else signed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Golden {
    access_key_id: String,
    secret: String,
    now: String,
    requests: Vec<Request>,
}

#[derive(Debug, Clone, Deserialize)]
struct Request {
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    #[serde(default)]
    region: Option<String>,
}

fn botocore() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/sigv4/botocore.json")).unwrap()
}

fn aws() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/sigv4/aws.json")).unwrap()
}

impl Golden {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn credential(&self) -> Credential {
        Credential { principal: "alice".to_owned(), secret: Zeroizing::new(self.secret.clone()) }
    }

    fn request(&self, name: &str) -> Request {
        self.requests.iter().find(|request| request.name == name).unwrap().clone()
    }

    /// What the server makes of a request, for a service.
    fn verified_for(&self, service: &str, request: &Request) -> Result<Verified, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let signed = SignedRequest {
            method: &request.method,
            target: &request.target,
            headers: &headers,
            body: request.body.as_bytes(),
        };
        let find = |id: &str| Ok::<_, Infallible>((id == self.access_key_id).then(|| self.credential()));
        verify_for(service, &signed, self.now(), find).unwrap()
    }

    fn verified(&self, request: &Request) -> Result<Verified, Refusal> {
        self.verified_for(SERVICE, request)
    }

    /// As [`Golden::verified`], of what is refused.
    fn refused(&self, request: &Request) -> (&'static str, String) {
        let refusal = self.verified(request).unwrap_err();
        (refusal.name, refusal.message)
    }
}

impl Request {
    fn header(&mut self, name: &str) -> &mut String {
        let place = self.headers.iter().position(|(known, _)| known.eq_ignore_ascii_case(name)).unwrap();
        &mut self.headers[place].1
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another authorization.
    fn authorized(mut self, change: impl FnOnce(&str) -> String) -> Self {
        let header = self.header("authorization");
        *header = change(header);
        self
    }
}

const INVALID: &str = "InvalidSignatureException";
const INCOMPLETE: &str = "IncompleteSignatureException";
const MISSING: (&str, &str) =
    ("MissingAuthenticationTokenException", "Request is missing Authentication Token");
const UNKNOWN: (&str, &str) =
    ("UnrecognizedClientException", "The security token included in the request is invalid.");
const MISMATCH: (&str, &str) = (
    INVALID,
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. \
     Consult the service documentation for details.",
);

fn assert_refused(golden: &Golden, request: &Request, expected: (&str, &str)) {
    let (name, message) = golden.refused(request);
    assert_eq!((name, message.as_str()), expected, "{request:?}");
}

#[test]
fn what_botocore_signs_is_verified_for_its_region() {
    let golden = botocore();
    for request in &golden.requests {
        let verified = golden.verified(request).unwrap_or_else(|refusal| panic!("{request:?}: {refusal:?}"));
        assert_eq!(verified.principal, "alice");
        assert_eq!(Some(verified.region), request.region);
        assert_eq!(verified.access_key_id.as_deref(), Some(golden.access_key_id.as_str()));
    }
}

#[test]
fn the_vectors_that_aws_publishes_are_verified() {
    let golden = aws();
    assert!(golden.requests.len() > 25);
    for request in &golden.requests {
        let has_token = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(SECURITY_TOKEN));
        let expected = if has_token { Err(unknown_client()) } else { Ok("us-east-1".to_owned()) };
        let region = golden.verified_for("service", request).map(|verified| verified.region);
        assert_eq!(region, expected, "{request:?}");
        // The same is not good for this service.
        let (name, message) = golden.refused(request);
        assert_eq!(
            (name, message.as_str()),
            (INVALID, "Credential should be scoped to correct service: 'kms'. ")
        );
    }
}

#[test]
fn a_request_without_a_signature_is_told_so() {
    let golden = botocore();
    let request = golden.request("a body");
    assert_refused(&golden, &request.clone().without("authorization"), MISSING);
    for other in ["Basic YTpi", "Bearer x", "", "AWS AKIA:x", "aws4-hmac-sha256 Credential=x"] {
        assert_refused(&golden, &request.clone().authorized(|_| other.to_owned()), MISSING);
    }
    let mut presigned = request.clone().without("authorization");
    presigned.target = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0".to_owned();
    assert_refused(&golden, &presigned, MISSING);
    let both = Request { target: presigned.target, ..request };
    let message = "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.";
    assert_refused(&golden, &both, (INVALID, message));
}

#[test]
fn a_signature_that_lacks_something_is_told_all_of_it_and_the_header_only_as_a_hash() {
    let golden = botocore();
    let request = golden.request("a body");
    let bare =
        request.clone().authorized(|_| "AWS4-HMAC-SHA256 Credential=".to_owned()).without("x-amz-date");
    // The hash is what sha256sum and base64 say of that header.
    let message = "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization \
                   header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' \
                   header. (Hashed with SHA-256 and encoded with Base64) Authorization=puxFDhQ/eGpt31ppycPPrbsvNsPVpNIV4CY9pqtYOr8=";
    assert_refused(&golden, &bare, (INCOMPLETE, message));
    for part in ["Credential", "Signature", "SignedHeaders"] {
        let lacking = request.clone().authorized(|header| header.replace(&format!("{part}="), "Other="));
        let (name, message) = golden.refused(&lacking);
        assert!(
            name == INCOMPLETE
                && message.starts_with(&format!("Authorization header requires '{part}' parameter. (Hashed")),
            "{message}"
        );
    }
    let undated = request.clone().without("x-amz-date");
    let (name, message) = golden.refused(&undated);
    assert!(
        name == INCOMPLETE && message.starts_with("Authorization header requires existence of"),
        "{message}"
    );
    let spaced = request.clone().authorized(|header| header.replace("Credential=", "Credential= "));
    let (name, message) = golden.refused(&spaced);
    assert!(
        name == INCOMPLETE
            && message
                .starts_with("Invalid key=value pair (missing equal-sign) in Authorization header (hashed"),
        "{message}"
    );
    assert!(!message.contains(&golden.access_key_id));
    let dated = {
        let mut request = request.clone();
        *request.header("x-amz-date") = "201".to_owned();
        request
    };
    let message =
        "Date must be in ISO-8601 'basic format'. Got '201'. See http://en.wikipedia.org/wiki/ISO_8601";
    assert_refused(&golden, &dated, (INCOMPLETE, message));
    let unsent = request.clone().without("content-type");
    let message = "'content-type' is named as a SignedHeader, but it does not exist in the HTTP request.";
    assert_refused(&golden, &unsent, (INCOMPLETE, message));
    let other = request.authorized(|header| header.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"));
    let message = "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1' (only AWS4-HMAC-SHA256 for now). ";
    assert_refused(&golden, &other, (INCOMPLETE, message));
}

#[test]
fn a_date_that_is_too_old_or_too_new_is_refused_with_both_ends() {
    let golden = botocore();
    let request = golden.request("a body");
    let at = |now: &str| Golden { now: now.to_owned(), ..botocore() };
    for now in ["2026-11-25T05:07:00Z", "2026-11-25T05:17:00.999Z"] {
        assert!(at(now).verified(&request).is_ok(), "{now}");
    }
    let message = "Signature expired: 20261125T051200Z is now earlier than 20261125T051201Z (20261125T051701Z - 5 min.)";
    assert_refused(&at("2026-11-25T05:17:01Z"), &request, (INVALID, message));
    let message = "Signature not yet current: 20261125T051200Z is still later than 20261125T051159Z (20261125T050659Z + 5 min.)";
    assert_refused(&at("2026-11-25T05:06:59Z"), &request, (INVALID, message));
}

#[test]
fn a_scope_of_another_kind_is_told_all_that_is_wrong() {
    let golden = botocore();
    let scoped =
        |from: &str, to: &str| golden.request("no parameters").authorized(|header| header.replace(from, to));
    let message = "Credential should be scoped to correct service: 'kms'. ";
    assert_refused(&golden, &scoped("/kms/", "/s3/"), (INVALID, message));
    let message = "Credential should be scoped to a valid region. Credential should be scoped to correct service: 'kms'. Credential should \
                   be scoped with a valid terminator: 'aws4_request', not 'e'. Date in Credential scope does not match YYYYMMDD from \
                   ISO-8601 version of date from HTTP: 'b' != '20261125', from '20261125T051200Z'. ";
    assert_refused(&golden, &scoped("20261125/us-east-1/kms/aws4_request", "b/C/d/e"), (INVALID, message));
    for (from, to) in [("/aws4_request", ""), ("/kms/", "/"), ("/kms/", "/kms/kms/")] {
        let (name, message) = golden.refused(&scoped(from, to));
        let expected = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '";
        assert!(name == INCOMPLETE && message.starts_with(expected), "{message}");
    }
    let unhosted = golden.request("no parameters").authorized(|header| header.replace("host;", ""));
    let message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
    assert_refused(&golden, &unhosted, (INVALID, message));
}

#[test]
fn an_access_key_that_nobody_has_and_one_with_a_token_are_unknown() {
    let golden = botocore();
    let request = golden.request("no parameters");
    let id = golden.access_key_id.clone();
    for other in ["AKIAKMSFSEXAMPLE2346", "", "x"] {
        assert_refused(&golden, &request.clone().authorized(|header| header.replace(&id, other)), UNKNOWN);
    }
    assert_refused(&golden, &request.clone().with(SECURITY_TOKEN, "a token that is not signed"), UNKNOWN);
    // Who does not sign as that principal is not told whether there is one.
    let forged =
        request.with(SECURITY_TOKEN, "x").authorized(|header| header.replace("Signature=", "Signature=0"));
    assert_refused(&golden, &forged, MISMATCH);
}

#[test]
fn what_is_said_twice_or_not_signed_where_it_must_be_is_refused() {
    let golden = botocore();
    let request = golden.request("the hash of the body");
    for name in ["x-amz-target", "x-amz-date", "host", "x-amz-content-sha256", "authorization"] {
        let value = request.clone().header(name).clone();
        assert_refused(&golden, &request.clone().with(name, &value), MISMATCH);
    }
    let twice = |part: &str| request.clone().authorized(|header| format!("{header}, {part}"));
    assert_refused(&golden, &twice("SignedHeaders=host"), MISMATCH);
    assert_refused(
        &golden,
        &twice(&format!("Credential={}/20261125/us-east-1/kms/aws4_request", golden.access_key_id)),
        MISMATCH,
    );
    assert!(golden.verified(&twice("Other=x")).is_ok(), "what nobody knows means nothing");
    for (from, to) in [
        ("host;", "host;host;"),
        ("host;", "Host;"),
        ("host;x-amz", "x-amz-date;host;x-amz"),
        ("host;", "host;;"),
    ] {
        assert_refused(&golden, &request.clone().authorized(|header| header.replace(from, to)), MISMATCH);
    }
    // AWS's vectors have no target; one that is added, or not signed, is refused.
    let vectors = aws();
    let vanilla = vectors.request("post-vanilla");
    assert!(vectors.verified_for("service", &vanilla).is_ok());
    let added = vanilla.with(TARGET, "TrentService.ScheduleKeyDeletion");
    assert_eq!(vectors.verified_for("service", &added), Err(mismatch()));
}

#[test]
fn a_hash_of_the_body_that_is_not_the_bodys_is_refused_signed_or_not() {
    let golden = botocore();
    for hash in ["UNSIGNED-PAYLOAD", "", "44136FA355B3678A1146AD16F7E8649E94FB4FC21FE77E8310C060F61CAAFF8A"] {
        let mut request = golden.request("the hash of the body");
        *request.header(CONTENT_SHA256) = hash.to_owned();
        assert_refused(&golden, &request, MISMATCH);
        assert_refused(&golden, &golden.request("no parameters").with(CONTENT_SHA256, hash), MISMATCH);
    }
    let right = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert!(golden.verified(&golden.request("no parameters").with(CONTENT_SHA256, right)).is_ok());
}

#[test]
fn every_altered_byte_of_what_is_signed_is_refused() {
    let golden = botocore();
    let request = golden.request("the hash of the body");
    let signed = ["content-type", "host", "x-amz-target", "x-amz-date", "x-amz-content-sha256"];
    for name in signed {
        for place in 0..request.clone().header(name).len() {
            let mut altered = request.clone();
            let value = altered.header(name);
            let other = if value.as_bytes()[place] == b'0' { "1" } else { "0" };
            value.replace_range(place..=place, other);
            assert!(golden.verified(&altered).is_err(), "{altered:?}");
        }
    }
    for place in 0..request.body.len() {
        let mut altered = request.clone();
        altered.body.replace_range(place..=place, "0");
        assert_refused(&golden, &altered, MISMATCH);
    }
    assert_refused(&golden, &Request { body: format!("{} ", request.body), ..request.clone() }, MISMATCH);
    assert_refused(&golden, &Request { body: String::new(), ..request.clone() }, MISMATCH);
    assert_refused(&golden, &Request { method: "GET".to_owned(), ..request.clone() }, MISMATCH);
    assert_refused(&golden, &Request { target: "/x".to_owned(), ..request.clone() }, MISMATCH);
    assert_refused(&golden, &Request { target: "/?x".to_owned(), ..request.clone() }, MISMATCH);
    let header = request.clone().header("authorization").clone();
    let from = header.find("Signature=").unwrap() + "Signature=".len();
    for place in from..header.len() {
        let other = if header.as_bytes()[place] == b'0' { "1" } else { "0" };
        let mut altered = header.clone();
        altered.replace_range(place..=place, other);
        assert_refused(&golden, &request.clone().authorized(|_| altered), MISMATCH);
    }
    for signature in [
        String::new(),
        header[from..].to_uppercase(),
        format!("{}0", &header[from..]),
        header[from..header.len() - 1].to_owned(),
    ] {
        let altered = request.clone().authorized(|header| format!("{}{signature}", &header[..from]));
        assert!(golden.verified(&altered).is_err(), "{signature}");
    }
}

#[test]
fn no_refusal_shows_what_was_computed() {
    let golden = botocore();
    let request = golden.request("a body").authorized(|header| header.replace("Signature=", "Signature=0"));
    let (_, message) = golden.refused(&request);
    assert!(!message.contains("Canonical") && !message.contains("String-to-Sign"), "{message}");
    assert!(!message.contains("20261125") && !message.contains("content-type"), "{message}");
}

proptest! {
    #[test]
    fn nothing_that_is_sent_panics(
        method in "[A-Z]{0,7}",
        target in "\\PC{0,30}",
        authorization in "(AWS4-HMAC-SHA256 )?(Credential=[^ ]{0,20}/20261125/us-east-1/kms/aws4_request[, ])?\\PC{0,20}(SignedHeaders=host[;a-zA-Z-]{0,12}, Signature=[0-9a-f]{0,64})?",
        date in "(20261125T051200Z|\\PC{0,20})",
        others in proptest::collection::vec(("[a-z-]{1,12}", proptest::collection::vec(any::<u8>(), 0..20)), 0..5),
        body in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut headers = HeaderMap::new();
        let mut put = |name: &str, value: &[u8]| {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        };
        put("authorization", authorization.as_bytes());
        put("x-amz-date", date.as_bytes());
        put("host", b"localhost");
        others.iter().for_each(|(name, value)| put(name, value));
        let request = SignedRequest { method: &method, target: &target, headers: &headers, body: &body };
        let golden = botocore();
        let verified = verify(&request, golden.now(), |_| Ok::<_, Infallible>(Some(golden.credential()))).unwrap();
        prop_assert!(verified.is_err());
    }
}
