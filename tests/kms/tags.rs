//! Tags of keys, with AWS's limits and words.

use serde_json::{Value, json};

use crate::fixture::{Key, Service};

fn tag(key: &str, value: &str) -> Value {
    json!({"TagKey": key, "TagValue": value})
}

fn put(key: &Key, tags: &Value) -> Value {
    json!({"KeyId": key.id, "Tags": tags})
}

fn tags(service: &Service, key: &Key) -> Value {
    service.ok("ListResourceTags", json!({"KeyId": key.id}))["Tags"].clone()
}

#[test]
fn tags_are_given_replaced_taken_away_and_kept() {
    let service = Service::new();
    let key = service.key_of(json!({"Tags": [tag("b", "1"), tag("a", "")]}));
    assert_eq!(tags(&service, &key), json!([tag("a", ""), tag("b", "1")]));
    assert_eq!(service.ok("TagResource", put(&key, &json!([tag("b", "2"), tag("C", "ä")]))), Value::Null);
    assert_eq!(tags(&service, &key), json!([tag("C", "ä"), tag("a", ""), tag("b", "2")]));
    assert_eq!(service.ok("UntagResource", json!({"KeyId": key.arn, "TagKeys": ["a", "none"]})), Value::Null);
    let request = json!({"KeyId": key.id});
    let seen = crate::fixture::call(&service.another(), "ListResourceTags", request).unwrap().unwrap();
    assert_eq!(seen, json!({"Tags": [tag("C", "ä"), tag("b", "2")], "Truncated": false}));
    let page = service.ok("ListResourceTags", json!({"KeyId": key.id, "Limit": 1}));
    let next = json!({"KeyId": key.id, "Marker": page["NextMarker"]});
    assert_eq!(service.ok("ListResourceTags", next)["Tags"], json!([tag("b", "2")]));
    assert_eq!(tags(&service, &service.key()), json!([]));
}

#[test]
fn what_does_not_fit_is_refused_in_aws_words_and_gives_nothing() {
    let service = Service::new();
    let key = service.key();
    let many = |count: usize| Value::from((0..count).map(|at| tag(&at.to_string(), "")).collect::<Vec<_>>());
    for (given, expected) in [
        (many(51), "TagException: Too many tags"),
        (json!([tag("a", "1"), tag("a", "2")]), "TagException: Duplicate tag keys"),
        (json!([tag("a", "1"), tag("Aws:x", "2")]), "TagException: Tags beginning with aws: are reserved"),
        (
            json!([tag("a", "1"), tag("", "2")]),
            "ValidationException: 1 validation error detected: Value '' at 'tags.2.member.tagKey' failed to satisfy constraint: \
             Member must have length greater than or equal to 1",
        ),
        (
            json!([{"TagKey": "a"}]),
            "ValidationException: 1 validation error detected: Value null at 'tags.1.member.tagValue' failed to satisfy \
             constraint: Member must not be null",
        ),
        (json!(["a"]), "SerializationException: Expected null"),
    ] {
        assert_eq!(service.refusal("TagResource", put(&key, &given)), expected);
        assert_eq!(service.refusal("CreateKey", json!({"Tags": given})), expected);
    }
    let long = service.refusal("TagResource", put(&key, &json!([tag("a", &"x".repeat(257))])));
    assert!(long.ends_with("at 'tags.1.member.tagValue' failed to satisfy constraint: Member must have length less than or equal to 256"));
    assert_eq!(tags(&service, &key), json!([]));
    service.ok("TagResource", put(&key, &many(50)));
    service.ok("TagResource", put(&key, &json!([tag("7", "again")])));
    assert_eq!(
        service.refusal("TagResource", put(&key, &json!([tag("x", "")]))),
        "TagException: Too many tags"
    );
}
