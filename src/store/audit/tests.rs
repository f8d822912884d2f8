mod turns;

use std::fs;
use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::verify::Report;
use super::*;
use crate::clock::Timestamp;
use crate::crypto::{KEY_LEN, Secret};
use crate::kms::audit::{HomeEvent, Scene};
use crate::kms::{Caller, Via};

const CHAIN: [u8; 16] = [3; 16];

/// A log in a directory of its own.
struct Place {
    temp: tempfile::TempDir,
    key: Secret<KEY_LEN>,
    file_len: u64,
}

impl Place {
    fn new() -> Self {
        Self::over(b"")
    }

    /// Begun in a file that has something in it.
    fn over(earlier: &[u8]) -> Self {
        let place = Self { temp: tempfile::tempdir().unwrap(), key: Secret::random(), file_len: FILE_LEN };
        if !earlier.is_empty() {
            fs::write(place.log(), earlier).unwrap();
        }
        begin(place.temp.path(), &place.keys(), &scene(), 0).unwrap();
        place
    }

    fn keys(&self) -> ChainKeys {
        ChainKeys::new(CHAIN, &self.key)
    }

    fn log(&self) -> PathBuf {
        self.temp.path().join(FILE_NAME)
    }

    fn head(&self) -> PathBuf {
        self.temp.path().join(HEAD_NAME)
    }

    fn open(&self) -> FileAuditLog {
        self.open_knowing(1)
    }

    fn open_knowing(&self, known: u64) -> FileAuditLog {
        let generation = Arc::new(AtomicI64::new(1));
        let opening = Opening { keys: self.keys(), generation, known, file_len: self.file_len };
        FileAuditLog::open(self.temp.path(), opening).unwrap()
    }

    fn record(&self, count: usize) {
        let log = self.open();
        (0..count).for_each(|_| log.record(&event()).unwrap());
    }

    fn text(&self) -> String {
        fs::read_to_string(self.log()).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    fn put_lines(&self, lines: &[String]) {
        fs::write(self.log(), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let name = |line: &String| serde_json::from_str::<serde_json::Value>(line).ok();
        self.lines()
            .iter()
            .filter_map(name)
            .map(|line| line["eventName"].as_str().unwrap().to_owned())
            .collect()
    }

    fn report(&self) -> Report {
        self.open().verify().unwrap()
    }

    fn append(&self, bytes: &[u8]) {
        fs::OpenOptions::new().append(true).open(self.log()).unwrap().write_all(bytes).unwrap();
    }

    #[track_caller]
    fn is_fine(&self) -> Report {
        let report = self.report();
        assert!(report.bad.is_empty(), "{report:?}");
        report
    }

    /// The first finding, which is the same before anything is recorded and after.
    #[track_caller]
    fn is_bad(&self, line: u64, what: &str) {
        for turn in ["found", "found later"] {
            let report = self.report();
            let first = report.bad.first().unwrap_or_else(|| panic!("{turn}: nothing is bad: {report:?}"));
            assert!(first.line == line && first.what.contains(what), "{turn}: {report:?}");
            self.record(2);
        }
    }
}

fn scene() -> Scene<'static> {
    Scene { account: "000000000000", region: "us-east-1", now: Timestamp::from_millis(0), ring: None }
}

/// The record of a change.
fn event() -> AuditEvent<'static> {
    static DONE: LazyLock<(Caller, HomeEvent)> = LazyLock::new(|| {
        let caller =
            Caller { principal: "arn:root".into(), uid: 0, pid: 1, user: "root".into(), via: Via::Cli };
        (caller, HomeEvent { name: "Test", parameters: serde_json::Map::new(), read_only: false })
    });
    AuditEvent::of_home(&scene(), &DONE.0, &DONE.1)
}

fn reading() -> AuditEvent<'static> {
    AuditEvent::of_file(&scene(), "Reading", None, "v", "p", None, &[])
}

#[test]
fn aud_3_records_of_many_threads_and_handles_are_one_chain() {
    let place = Place::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let log = place.open();
                thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| (0..50).for_each(|_| log.record(&reading()).unwrap()));
                    }
                });
            });
        }
    });
    assert_eq!(place.is_fine().records, 401);
    assert_eq!(place.lines().len(), 401);
}

#[test]
fn aud_3_a_record_that_is_changed_removed_moved_or_put_in_is_named() {
    let whole = Place::new();
    whole.record(6);
    let lines = whole.lines();
    let spoilt = |change: &dyn Fn(&mut Vec<String>)| {
        let place = Place { temp: tempfile::tempdir().unwrap(), key: whole.key.clone(), file_len: FILE_LEN };
        fs::copy(whole.head(), place.head()).unwrap();
        let mut lines = lines.clone();
        change(&mut lines);
        place.put_lines(&lines);
        place
    };
    let changed = "the record was changed";
    spoilt(&|lines| lines[3] = lines[3].replace("Test", "Tesu")).is_bad(4, changed);
    spoilt(&|lines| lines[6] = lines[6].replace("Test", "Tesu")).is_bad(7, changed);
    spoilt(&|lines| lines[0] = lines[0].replace("Begin", "Negin"))
        .is_bad(1, "the record that began the chain");
    spoilt(&|lines| drop(lines.remove(0))).is_bad(1, "the record that began the chain");
    spoilt(&|lines| drop(lines.remove(2))).is_bad(3, "record 3 is missing before it");
    spoilt(&|lines| drop(lines.drain(2..4))).is_bad(3, "records 3 to 4 are missing before it");
    spoilt(&|lines| lines.swap(2, 3)).is_bad(3, "record 3 is missing before it");
    spoilt(&|lines| lines.insert(2, lines[1].clone()))
        .is_bad(3, "record 2 stands here out of order, where record 3 is due");
    spoilt(&|lines| lines.insert(2, "{\"eventName\":\"Forged\"}".into()))
        .is_bad(3, "was not written by kmsfs");
    spoilt(&|lines| lines.insert(2, "{\"torn".into())).is_bad(3, "the line is no whole record");
    spoilt(&|lines| lines.push("{\"eventName\":\"Forged\"}".into())).is_bad(8, "was not written by kmsfs");
    spoilt(&|lines| lines.push(lines[2].clone())).is_bad(8, "out of order");
    spoilt(&|lines| lines[3] = lines[3][..60].into()).is_bad(4, "the line is no whole record");
}

#[test]
fn aud_3_lines_that_are_cut_off_at_the_end_are_missed() {
    for left in 1..6 {
        let place = Place::new();
        place.record(5);
        place.put_lines(&place.lines()[..left]);
        let what = if left == 5 {
            "record 6 is missing".into()
        } else {
            format!("records {} to 6 are missing", left + 1)
        };
        place.is_bad(left as u64 + 1, &what);
    }
    let place = Place::new();
    place.record(5);
    fs::write(place.log(), &place.text()[..place.text().len() - 30]).unwrap();
    assert_eq!(place.report().bad[0].what, "record 6 is missing at the end");
    place.record(1);
    assert_eq!(place.report().bad[0].what, "the line is no whole record");
    for gone in [true, false] {
        let place = Place::new();
        place.record(5);
        match gone {
            true => fs::remove_file(place.log()).unwrap(),
            false => fs::write(place.log(), "").unwrap(),
        }
        assert!(place.report().bad[0].what.contains("records 1 to 6 are missing"), "{:?}", place.report());
        place.record(1);
        assert!(place.report().bad[0].what.contains("the record that began the chain is missing"));
    }
}

#[test]
fn aud_3_a_head_that_is_removed_altered_or_older_is_missed() {
    let place = Place::new();
    place.record(2);
    let older = fs::read(place.head()).unwrap();
    place.record(2);
    let log = place.open();
    log.record(&event()).unwrap();
    // Under a process that has the log open, and with the log as it was then.
    fs::write(place.head(), &older).unwrap();
    place.put_lines(&place.lines()[..3]);
    log.record(&event()).unwrap();
    let what = place.report().bad[0].what.clone();
    assert!(what.contains("records 4 to 6 are missing before it: audit.head is older"), "{what}");

    let place = Place::new();
    place.record(2);
    fs::remove_file(place.head()).unwrap();
    place.put_lines(&place.lines()[..2]);
    assert_eq!(place.open_knowing(1).verify().unwrap().bad[0].what, "audit.head is missing");
    place.record(1);
    assert_eq!(place.report().bad[0].what, "audit.head was missing");

    let place = Place::new();
    place.record(2);
    let mut head = fs::read(place.head()).unwrap();
    head[40] ^= 1;
    fs::write(place.head(), head).unwrap();
    assert_eq!(place.report().bad[0].what, "audit.head does not authenticate");
    place.record(1);
    assert_eq!(place.report().bad[0].what, "audit.head did not authenticate");
}

#[test]
fn aud_3_a_log_that_is_older_than_the_key_store_is_missed() {
    let place = Place::new();
    place.record(2);
    let (log, head) = (place.text(), fs::read(place.head()).unwrap());
    place.record(4);
    fs::write(place.log(), log).unwrap();
    fs::write(place.head(), head).unwrap();
    place.is_fine();
    let bad = place.open_knowing(7).verify().unwrap().bad;
    assert_eq!(bad[0].what, "records 4 to 7 are missing at the end");
    place.open_knowing(7).record(&event()).unwrap();
    let what = place.report().bad[0].what.clone();
    assert!(what.starts_with("records 4 to 7 are missing before it"), "{what}");
}

#[test]
fn aud_3_a_whole_record_behind_the_head_is_accepted() {
    let place = Place::new();
    place.record(2);
    let before = fs::read(place.head()).unwrap();
    place.record(1);
    // As if its writer had been killed before it advanced the head.
    fs::write(place.head(), before).unwrap();
    assert_eq!(place.is_fine().records, 4);
    place.record(1);
    assert_eq!(place.is_fine().records, 5);
    assert_eq!(place.names(), ["BeginAuditChain", "Test", "Test", "Test", "Test"]);
}

#[test]
fn aud_3_a_torn_last_line_is_closed_by_a_record_that_says_so_wherever_it_is_torn() {
    let whole = Place::new();
    whole.record(2);
    let before = fs::read(whole.head()).unwrap();
    let start = whole.text().len();
    whole.record(1);
    let text = whole.text();
    for end in start + 1..text.len() {
        if !(end - start).is_multiple_of(7) && end + 3 < text.len() {
            continue;
        }
        fs::write(whole.head(), &before).unwrap();
        fs::write(whole.log(), &text[..end]).unwrap();
        assert!(whole.is_fine().notes.is_empty(), "what is being written says nothing yet");
        whole.record(1);
        let report = whole.is_fine();
        if end == text.len() - 1 {
            // Only its line feed was missing.
            assert_eq!((report.records, report.notes.len()), (5, 0), "{report:?}");
            continue;
        }
        if end == text.len() {
            continue;
        }
        assert_eq!((report.records, report.notes.len(), report.notes[0].line), (5, 1, 4), "{report:?}");
        // The record that closes it is torn as well, and then the record after that.
        let closed = whole.text();
        let middle = end + 20;
        fs::write(whole.head(), &before).unwrap();
        fs::write(whole.log(), &closed[..middle]).unwrap();
        assert!(whole.report().bad.is_empty());
        whole.record(1);
        assert_eq!(whole.is_fine().records, 5, "{}", whole.text());
    }
}

#[test]
fn aud_3_a_torn_line_is_closed_also_where_the_log_was_open() {
    let place = Place::new();
    let log = place.open();
    log.record(&event()).unwrap();
    place.append(b"{\"torn\":");
    log.record(&event()).unwrap();
    log.record(&event()).unwrap();
    assert_eq!(place.names(), ["BeginAuditChain", "Test", "CloseTornAuditLine", "Test", "Test"]);
    assert_eq!(place.is_fine().notes.len(), 1);
}

#[test]
fn aud_3_what_a_machine_lost_when_it_stopped_is_told_and_no_alarm() {
    let place = Place::new();
    let log = place.open();
    log.record(&event()).unwrap();
    let synced = place.text().len();
    log.record(&reading()).unwrap();
    log.record(&reading()).unwrap();
    // The head of another run of the machine, on disk when two records were not.
    let head = Head::decode(&fs::read(place.head()).unwrap().try_into().unwrap(), &place.keys()).unwrap();
    assert_eq!((head.synced.number, head.last.number), (2, 4));
    let mut earlier = head;
    earlier.boot = [9; 16];
    let earlier = earlier.encode(&place.keys());
    let restart = || fs::write(place.head(), earlier).unwrap();
    let text = place.text();
    let zeros = [text.as_bytes()[..synced].to_vec(), vec![0; 100]].concat();
    let part = text.as_bytes()[..synced + 100].to_vec();
    for (left, lost) in [
        (text.as_bytes()[..synced].to_vec(), true),
        (zeros, true),
        (part, true),
        (text.clone().into_bytes(), false),
    ] {
        restart();
        fs::write(place.log(), &left).unwrap();
        place.record(1);
        let report = place.is_fine();
        let told = report.notes.iter().any(|note| note.what.contains("records 3 to 4 are missing here"));
        assert_eq!(told, lost, "{report:?}");
    }
    // What was on disk cannot be lost in this way.
    restart();
    fs::write(place.log(), &text.as_bytes()[..synced - 10]).unwrap();
    place.record(1);
    assert!(!place.report().bad.is_empty());
}

#[test]
fn aud_3_rotation_keeps_the_chain_also_under_handles_that_are_open() {
    let mut place = Place::new();
    place.file_len = 4000;
    let handles = [place.open(), place.open()];
    for _ in 0..10 {
        handles.iter().for_each(|log| log.record(&reading()).unwrap());
    }
    let report = place.is_fine();
    assert!(report.files.len() > 3, "{report:?}");
    assert_eq!(report.files.last().unwrap(), FILE_NAME);
    let rotated = report.files.len() as u64 - 1;
    assert_eq!(report.records, 21 + rotated, "with a record of each rotation");
    for name in &report.files {
        assert!(fs::metadata(place.temp.path().join(name)).unwrap().len() <= 4000, "{name}");
    }
    // A file of the middle that is gone, and one that was changed.
    let second = place.temp.path().join("audit.log.000002");
    let kept = fs::read_to_string(&second).unwrap();
    fs::remove_file(&second).unwrap();
    let bad = &place.report().bad[0];
    assert!(bad.file == "audit.log.000003" && bad.line == 1 && bad.what.contains("missing"), "{bad:?}");
    fs::write(&second, kept.replacen("Reading", "Reaping", 1)).unwrap();
    let bad = &place.report().bad[0];
    assert!(bad.file == "audit.log.000002" && bad.what == "the record was changed", "{bad:?}");
    fs::write(&second, kept).unwrap();
    place.is_fine();
}

#[test]
fn aud_3_a_rotation_that_was_killed_is_completed() {
    let place = Place::new();
    let old = place.open();
    old.record(&event()).unwrap();
    let before = fs::read(place.head()).unwrap();
    let text = place.text();
    place.open().rotate_now(&event()).unwrap();
    let after = Head::decode(&fs::read(place.head()).unwrap().try_into().unwrap(), &place.keys()).unwrap();
    let head = Head::decode(&before.try_into().unwrap(), &place.keys()).unwrap();
    let begin = head::Place { end: 0, ..head.last };
    let begun = Head { file: after.file, last: begin, synced: begin, reserved: 0, ..head };
    let full = place.temp.path().join("audit.log.000001");
    // Killed when the head was written, when the file was renamed, and when the next one was made.
    for step in 0..3 {
        fs::write(place.head(), begun.encode(&place.keys())).unwrap();
        let _ = fs::remove_file(&full);
        let _ = fs::remove_file(place.log());
        fs::write(if step == 0 { place.log() } else { full.clone() }, &text).unwrap();
        if step == 2 {
            fs::write(place.log(), "").unwrap();
        }
        if step > 0 {
            place.is_fine();
        }
        let log = if step == 1 { &old } else { &place.open() };
        log.record(&event()).unwrap();
        assert_eq!(place.is_fine().records, 3, "step {step}");
        assert_eq!(place.names(), ["Test"], "step {step}");
    }
}

#[test]
fn aud_3_a_chain_covers_what_stood_in_the_log_before_it() {
    for earlier in
        ["{\"eventName\":\"Old\"}\n{\"eventName\":\"Old\"}\n", "{\"eventName\":\"Old\"}\n{\"to", "\n"]
    {
        let place = Place::over(earlier.as_bytes());
        place.record(2);
        let report = place.is_fine();
        assert_eq!(report.records, 3);
        assert_eq!(report.earlier_bytes as usize, earlier.trim_end_matches('\n').len() + 1);
        let text = place.text();
        fs::write(place.log(), text.replacen(['O', '\n'], "P", 1)).unwrap();
        assert!(!place.report().bad.is_empty(), "{earlier:?}");
    }
}

#[test]
fn aud_3_a_record_stays_whole_however_often_others_tear_theirs_meanwhile() {
    let place = Place::new();
    let log = place.open();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                // Not by the rules: without the lock.
                place.append(b"{\"torn\":");
                thread::yield_now();
            }
        });
        (0..200).for_each(|_| log.record(&reading()).unwrap());
        ended.store(true, Ordering::Relaxed);
    });
    let whole = place.lines().iter().filter(|line| place.keys().open(line.as_bytes()).is_ok()).count();
    assert!(whole >= 201, "{whole}");
}

#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.record(1);
    for path in [place.log(), place.head()] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
