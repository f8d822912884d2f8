//! Pages of lists: Limit, Marker, NextMarker, Truncated.

use serde_json::{Value, json};

use crate::fixture::{Key, Service, text};

/// All entries of a list, page by page of `limit`.
fn pages(
    service: &Service,
    operation: &str,
    entries: &str,
    request: &Value,
    limit: usize,
) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut marker = Value::Null;
    loop {
        let mut request = request.clone();
        request["Limit"] = json!(limit);
        request["Marker"] = marker.clone();
        let answer = service.ok(operation, request);
        let page = answer[entries].as_array().unwrap().clone();
        assert!(page.len() <= limit);
        pages.push(page);
        let truncated = answer["Truncated"].as_bool().unwrap();
        assert_eq!(answer.get("NextMarker").is_some(), truncated, "a marker exactly when there is more");
        if !truncated {
            return pages;
        }
        marker = answer["NextMarker"].clone();
    }
}

fn lists(service: &Service) -> [(&'static str, &'static str, Value); 4] {
    let keys: Vec<Key> = (0..7).map(|_| service.key()).collect();
    for number in 0..7 {
        service.alias(&format!("alias/{number}"), &keys[0]);
        service.ok("RotateKeyOnDemand", json!({"KeyId": keys[0].id}));
    }
    [
        ("ListKeys", "Keys", json!({})),
        ("ListAliases", "Aliases", json!({})),
        ("ListAliases", "Aliases", json!({"KeyId": keys[0].id})),
        ("ListKeyRotations", "Rotations", json!({"KeyId": keys[0].id})),
    ]
}

#[test]
fn pages_of_any_size_join_to_the_whole_list() {
    let service = Service::new();
    for (operation, entries, request) in lists(&service) {
        let whole = pages(&service, operation, entries, &request, 100);
        assert_eq!((whole.len(), whole[0].len()), (1, 7), "{operation}");
        for limit in 1..=8 {
            let pages = pages(&service, operation, entries, &request, limit);
            assert_eq!(pages.len(), 7_usize.div_ceil(limit), "{operation} by {limit}");
            assert_eq!(pages.concat(), whole[0], "{operation} by {limit}");
        }
    }
}

#[test]
fn limits_are_those_of_aws() {
    let service = Service::new();
    let key = service.key();
    for (operation, request, max) in [
        ("ListKeys", json!({}), 1000),
        ("ListAliases", json!({}), 100),
        ("ListKeyRotations", json!({"KeyId": key.id}), 1000),
    ] {
        let ask = |limit: i64| {
            let mut request = request.clone();
            request["Limit"] = json!(limit);
            service.call(operation, request)
        };
        assert!(ask(max).is_ok());
        for (limit, bound) in
            [(0, "greater than or equal to 1".to_owned()), (max + 1, format!("less than or equal to {max}"))]
        {
            assert_eq!(
                ask(limit).unwrap_err().to_string(),
                format!(
                    "ValidationException: 1 validation error detected: Value '{limit}' at 'limit' failed to satisfy \
                     constraint: Member must have value {bound}"
                )
            );
        }
    }
}

#[test]
fn a_list_without_a_limit_stops_at_the_default_of_aws() {
    let service = Service::new();
    let keys = [service.key(), service.key()];
    for number in 0..51 {
        service.alias(&format!("alias/{number:02}"), &keys[number % 2]);
    }
    let answer = service.ok("ListAliases", json!({}));
    assert_eq!(answer["Aliases"].as_array().unwrap().len(), 50);
    assert_eq!(answer["Truncated"], json!(true));
    let rest = service.ok("ListAliases", json!({"Marker": answer["NextMarker"]}));
    assert_eq!(rest["Aliases"][0]["AliasName"], json!("alias/50"));
    assert_eq!(rest["Truncated"], json!(false));
}

#[test]
fn a_marker_that_the_list_did_not_give_is_refused() {
    let service = Service::new();
    let mut markers = vec![json!("?"), json!("AAAA"), json!("alias/3")];
    let lists = lists(&service);
    for (operation, _, request) in &lists[..2] {
        let mut request = request.clone();
        request["Limit"] = json!(1);
        markers.push(service.ok(operation, request)["NextMarker"].clone());
    }
    let foreign = [markers[..3].to_vec(), vec![markers[4].clone()]].concat();
    for marker in foreign {
        let refusal = service.refusal("ListKeys", json!({"Marker": marker}));
        assert_eq!(refusal, "InvalidMarkerException: Invalid marker.");
    }
}

#[test]
fn what_comes_and_goes_between_two_pages_neither_repeats_nor_hides_others() {
    let service = Service::new();
    let key = service.key();
    for name in ["b", "d", "f", "h"] {
        service.alias(&format!("alias/{name}"), &key);
    }
    let first = service.ok("ListAliases", json!({"Limit": 2}));
    // The last one shown goes, one comes before it and one after.
    service.ok("DeleteAlias", json!({"AliasName": "alias/d"}));
    service.alias("alias/c", &key);
    service.alias("alias/g", &key);
    let second = service.ok("ListAliases", json!({"Marker": first["NextMarker"]}));
    let names: Vec<String> =
        second["Aliases"].as_array().unwrap().iter().map(|alias| text(&alias["AliasName"])).collect();
    assert_eq!(names, ["alias/f", "alias/g", "alias/h"]);
}
