//! The records of a volume: its configuration, the default keys of directories, the list of dirty files.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kmsfs::crypto::hash::sha256;
use kmsfs::datakey::Authenticator;
use kmsfs::volume::config::VolumeConfig;
use kmsfs::volume::{default_key as stored_key, dirty};
use serde_json::Value;

use crate::input::Input;
use crate::sealing::Home;

/// What parses is written back as it was; it authenticates where its MAC is the one that the document says, and nowhere else.
pub fn config(data: &[u8]) {
    let dir = Path::new("volume");
    let Ok(config) = VolumeConfig::parse(data, dir) else { return };
    assert_eq!(VolumeConfig::parse(config.to_json().as_bytes(), dir).ok().as_ref(), Some(&config));
    let mut json: Value = serde_json::from_str(&config.to_json()).expect("it is JSON");
    let mac = mac_of(&json);
    assert_eq!(config.verify(dir, &Home).is_ok(), json["mac"] == *mac && is_local(&json), "its own MAC");
    json["mac"] = mac.into();
    let signed = VolumeConfig::parse(json.to_string().as_bytes(), dir).expect("it parsed before");
    assert_eq!(signed.verify(dir, &Home).is_ok(), is_local(&json), "the right MAC");
}

fn is_local(json: &Value) -> bool {
    json["provider"]["kind"] == "local" && json["provider"]["home"] == Home::ID
}

fn mac_of(json: &Value) -> String {
    let mut message = json["format"].as_u64().expect("a number").to_be_bytes().to_vec();
    for field in [&json["id"], &json["provider"]["kind"], &json["provider"]["home"], &json["defaultKey"]] {
        let text = field.as_str().expect("a string");
        message.extend_from_slice(&(text.len() as u64).to_be_bytes());
        message.extend_from_slice(text.as_bytes());
    }
    Home.mac("kmsfs volume configuration 1", &message).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What decodes is encoded as it was; with the right MAC, whatever is a key decodes.
pub fn default_key(data: &[u8]) {
    const VOLUME: &str = "volume-1";
    if let Ok(key) = stored_key::decode(data, VOLUME, &Home) {
        assert_eq!(stored_key::encode(&key, VOLUME, &Home), data);
    }
    let message = [&(VOLUME.len() as u64).to_be_bytes(), VOLUME.as_bytes(), data].concat();
    let signed = [&[1], Home.mac("kmsfs directory default key 1", &message).as_slice(), data].concat();
    let decoded = stored_key::decode(&signed, VOLUME, &Home).ok();
    let key = std::str::from_utf8(data).ok().filter(|key| (1..=stored_key::KEY_MAX).contains(&key.len()));
    assert_eq!(decoded.as_deref(), key);
}

/// Any log is replayed up to its first record that is not whole; whole records mean what the document says.
pub fn dirty_list(data: &[u8]) {
    dirty::replay(data);

    let (mut log, mut listed) = (Vec::new(), HashMap::new());
    let mut input = Input(data);
    while !input.is_empty() {
        let (kind, id, len) = (input.byte() % 4, [input.byte() % 4; 16], input.byte());
        let path = input.bytes(len.into());
        let record = [&[kind], id.as_slice(), &(path.len() as u16).to_be_bytes(), path].concat();
        log.extend_from_slice(&record);
        log.extend_from_slice(&sha256(&[&record])[..8]);
        match kind {
            1 => drop(listed.insert(id, PathBuf::from(OsStr::from_bytes(path)))),
            2 => drop(listed.remove(&id)),
            _ => break,
        }
    }
    assert_eq!(dirty::replay(&log), listed);
    log.extend_from_slice(b"\x01torn");
    assert_eq!(dirty::replay(&log), listed, "a torn record changes nothing");
}
