//! A Unix socket instead of an address.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::json;

use crate::fixture::{Client, Home, PATIENCE, Server};

fn connect(server: &Server) -> Client<UnixStream> {
    let stream = UnixStream::connect(server.home.path("kms.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client::new(stream)
}

#[test]
fn a_unix_socket_is_this_user_s_alone_and_records_say_which_process() {
    let mut server = Home::new().serve(&["--unix", "kms.sock"]);
    assert_eq!(server.url, "unix:kms.sock");
    let file = fs::metadata(server.home.path("kms.sock")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let answer = connect(&server).call("ListKeys", &json!({}));
    assert_eq!(answer.status, 200);
    let record = server.home.record_of(answer.request_id());
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(record["additionalEventData"], json!({"uid": uid, "pid": std::process::id()}));
    assert_eq!(record["sourceIPAddress"], "127.0.0.1");
    server.signal("TERM");
    assert_eq!(server.ended().0, 0);
    assert!(!server.home.path("kms.sock").exists(), "it is taken away at the end");
}

#[test]
fn a_socket_that_nobody_listens_on_is_replaced_and_one_in_use_or_a_file_is_not() {
    let home = Home::new();
    drop(UnixListener::bind(home.path("kms.sock")).unwrap());
    let server = home.serve(&["--unix", "kms.sock", "--listen", "127.0.0.1:0"]);
    assert_eq!(connect(&server).call("ListKeys", &json!({})).status, 200);
    server.ok("ListKeys", json!({}));
    let second = server.home.run(&["serve", "--no-auth", "--unix", "kms.sock"]);
    assert_eq!((second.code, second.err.contains("kms.sock is in use")), (13, true), "{}", second.err);
    assert_eq!(connect(&server).call("ListKeys", &json!({})).status, 200);
    fs::write(server.home.path("file"), "precious").unwrap();
    let third = server.home.run(&["serve", "--no-auth", "--unix", "file"]);
    assert_eq!(
        (third.code, third.err.contains("file is there, and is no socket")),
        (13, true),
        "{}",
        third.err
    );
    assert!(!fs::metadata(server.home.path("file")).unwrap().file_type().is_socket());
}
