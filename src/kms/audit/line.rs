//! A record as one line of JSON.
//!
//! It is written by hand, since one is written at each open of a file: what is always the same goes out in one piece, and a text without
//! anything to escape in another. What is rare goes through `serde_json`, and a test reads the whole back with it.

use std::io::Write;

use serde::Serialize;
use uuid::Uuid;

use super::{AuditEvent, EVENT_VERSION, Identity, More, Parameters, Resource};

/// Room for a record of an open, in bytes.
const LINE_LEN: usize = 2048;

/// A line under way.
struct Line(Vec<u8>);

impl Line {
    /// What is JSON already.
    fn raw(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// A string.
    fn text(&mut self, text: &str) {
        // All that JSON asks to be escaped (RFC 8259, 7). No `any`: what does not stop at the first is looked at many bytes at a time.
        let is_escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        if text.bytes().fold(false, |found, byte| found | is_escaped(byte)) {
            return self.value(text);
        }
        self.0.reserve(text.len() + 2);
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }

    /// `json`, which ends with a member's name and a colon, and its string.
    fn member(&mut self, json: &str, text: &str) {
        self.raw(json);
        self.text(text);
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(&mut self.0, value).expect("strings, numbers and JSON values are JSON");
    }

    fn flag(&mut self, flag: bool) {
        self.raw(if flag { "true" } else { "false" });
    }

    fn file(&mut self, volume: &str, path: &str) {
        self.member("\"volume\":", volume);
        self.member(",\"path\":", path);
    }

    fn process(&mut self, before: &str, uid: u32, pid: u32) {
        // Writing to memory does not fail.
        let _ = write!(self.0, "{before}\"uid\":{uid},\"pid\":{pid}");
    }

    fn uuid(&mut self, json: &str, id: Uuid) {
        self.raw(json);
        self.raw(id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }
}

impl AuditEvent<'_> {
    /// The record as one line, with its end.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = Line(Vec::with_capacity(LINE_LEN));
        line.member("{\"eventVersion\":", EVENT_VERSION);
        self.identity(&mut line);
        let _ = write!(line.0, ",\"eventTime\":\"{}\"", self.event_time);
        line.member(",\"eventSource\":\"kms.amazonaws.com\",\"eventName\":", self.event_name);
        line.member(",\"awsRegion\":", self.aws_region);
        line.member(",\"sourceIPAddress\":", self.source_ip_address);
        line.member(",\"userAgent\":", self.user_agent);
        if let Some(code) = self.error_code {
            line.member(",\"errorCode\":", code);
        }
        if let Some(message) = self.error_message {
            line.member(",\"errorMessage\":", message);
        }
        self.parameters(&mut line);
        line.raw(",\"responseElements\":null");
        self.more(&mut line);
        if let Some(details) = &self.service_event_details {
            line.raw(",\"serviceEventDetails\":");
            line.value(details);
        }
        line.uuid(",\"requestID\":\"", self.request_id);
        line.uuid("\",\"eventID\":\"", self.event_id);
        line.raw("\",\"readOnly\":");
        line.flag(self.read_only);
        line.raw(",\"resources\":[");
        for (nth, Resource { account, arn }) in self.resources.iter().enumerate() {
            line.member(if nth == 0 { "{\"accountId\":" } else { ",{\"accountId\":" }, account);
            line.member(",\"type\":\"AWS::KMS::Key\",\"ARN\":", arn);
            line.raw("}");
        }
        line.member("],\"eventType\":", self.event_type);
        line.member(",\"managementEvent\":true,\"recipientAccountId\":", self.recipient_account_id);
        line.raw(",\"eventCategory\":\"Management\"");
        if let Some(details) = &self.tls_details {
            line.raw(",\"tlsDetails\":");
            line.value(details);
        }
        line.raw("}\n");
        line.0
    }

    fn identity(&self, line: &mut Line) {
        match self.user_identity {
            Identity::Caller { r#type, arn, account_id, access_key_id, user_name } => {
                line.member(",\"userIdentity\":{\"type\":", r#type);
                line.member(",\"arn\":", arn);
                line.member(",\"accountId\":", account_id);
                if let Some(id) = access_key_id {
                    line.member(",\"accessKeyId\":", id);
                }
                line.member(",\"userName\":", user_name);
            }
            Identity::Service { account_id, invoked_by } => {
                line.member(",\"userIdentity\":{\"accountId\":", account_id);
                line.member(",\"invokedBy\":", invoked_by);
            }
        }
        line.raw("}");
    }

    fn parameters(&self, line: &mut Line) {
        line.raw(",\"requestParameters\":");
        match self.request_parameters {
            None => line.raw("null"),
            Some(Parameters::Read(members)) => line.value(members),
            Some(Parameters::File { key_id, encryption_context, encryption_algorithm }) => {
                line.member("{\"keyId\":", key_id);
                line.raw(",\"encryptionContext\":");
                let mut before = "{";
                for (name, value) in encryption_context.pairs() {
                    line.member(before, name);
                    line.member(":", value);
                    before = ",";
                }
                line.raw(if before == "{" { "{}" } else { "}" });
                line.member(",\"encryptionAlgorithm\":", encryption_algorithm);
                line.raw("}");
            }
        }
    }

    fn more(&self, line: &mut Line) {
        let before = ",\"additionalEventData\":{";
        match &self.additional_event_data {
            None => return,
            Some(More::Process { uid, pid }) => line.process(before, *uid, *pid),
            Some(More::Asked { volume, path, uid, pid }) => {
                line.raw(before);
                line.file(volume, path);
                line.process(",", *uid, *pid);
            }
            Some(More::Happened { volume, path, detail }) => {
                line.raw(before);
                line.file(volume, path);
                line.raw(",\"detail\":");
                line.value(detail);
            }
        }
        line.raw("}");
    }
}
