//! Turns that are kept from one record to the next.

use super::*;

impl Place {
    /// Open in a process that records often.
    fn open_for_many(&self) -> Arc<FileAuditLog> {
        let log = Arc::new(self.open());
        log.keep_turns().unwrap();
        log
    }

    /// What a kill of every process would leave now.
    fn as_killed(&self) -> Self {
        let copy =
            Self { temp: tempfile::tempdir().unwrap(), key: self.key.clone(), file_len: self.file_len };
        // The head first: it is never ahead of the log.
        fs::copy(self.head(), copy.head()).unwrap();
        fs::copy(self.log(), copy.log()).unwrap();
        copy
    }

    fn head_bytes(&self) -> Vec<u8> {
        fs::read(self.head()).unwrap()
    }
}

/// Records until a turn is kept, so that the head in its file stays behind, as it answers; a machine that is busy elsewhere may take
/// some tries.
fn record_until_kept(place: &Place, log: &FileAuditLog) -> Vec<u8> {
    for _ in 0..10_000 {
        let before = place.head_bytes();
        log.record(&reading()).unwrap();
        if before == place.head_bytes() {
            return before;
        }
    }
    panic!("no turn is kept");
}

#[test]
fn aud_3_a_kill_while_a_turn_is_kept_leaves_whole_records_that_are_accepted() {
    let place = Place::new();
    let log = place.open_for_many();
    record_until_kept(&place, &log);
    log.record(&reading()).unwrap();
    let killed = place.as_killed();
    let count = killed.lines().len() as u64;
    assert_eq!(killed.is_fine().records, count);
    killed.record(1);
    assert_eq!(killed.is_fine().records, count + 1);
    assert!(killed.names()[1..count as usize].iter().all(|name| name == "Reading"), "{:?}", killed.names());
}

#[test]
fn aud_3_a_turn_ends_by_itself_with_a_change_and_with_its_log() {
    let place = Place::new();
    let log = place.open_for_many();
    let ends = |end: &dyn Fn()| {
        let kept = record_until_kept(&place, &log);
        end();
        assert_ne!(kept, place.head_bytes());
    };
    ends(&|| log.record(&event()).unwrap());
    ends(&|| assert!(log.verify().unwrap().bad.is_empty()));
    ends(&|| while log.state.lock().is_held {});
    let kept = record_until_kept(&place, &log);
    drop(log);
    // The thread may be about to end the turn, and is then the last that has the log.
    while kept == place.head_bytes() {}
    assert_eq!(place.is_fine().records, place.lines().len() as u64);
}

#[test]
fn aud_3_who_records_without_pause_lets_others_record() {
    // However much two record until the other one has its turns, it is in one file.
    let place = Place { file_len: u64::MAX, ..Place::new() };
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let log = place.open_for_many();
                while !is_over.load(Ordering::SeqCst) {
                    log.record(&reading()).unwrap();
                }
            });
        }
        let other = place.open();
        (0..20).for_each(|_| other.record(&event()).unwrap());
        is_over.store(true, Ordering::SeqCst);
    });
    let tests = place.names().iter().filter(|name| *name == "Test").count();
    assert_eq!(tests, 20);
    assert_eq!(place.is_fine().records, place.lines().len() as u64);
}

/// A process that has the log's lock and does not give it back: stopped, as `SIGSTOP` leaves it.
struct Stopped(std::process::Child);

impl Stopped {
    fn over(place: &Place) -> Self {
        let mut holder = std::process::Command::new("flock");
        holder.args([place.head().to_str().unwrap(), "-c", "echo has it; kill -STOP $PPID; exec sleep 100"]);
        let mut holder = holder.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut said = [0; 7];
        io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
        let stopped = Self(holder);
        while !fs::read_to_string(format!("/proc/{}/stat", stopped.0.id())).unwrap().contains(") T ") {}
        stopped
    }

    /// The lock is of whoever has the file open: the program that `flock` runs, too.
    fn end(&mut self) {
        let pid = self.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for pid in children.split_ascii_whitespace() {
            let _ = std::process::Command::new("kill").args(["-KILL", pid]).status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn aud_3_a_holder_that_is_stopped_is_named_and_not_waited_for_for_ever() {
    let place = Place::new();
    let mut log = place.open();
    log.lock.limit = std::time::Duration::from_millis(300);
    let log = Arc::new(log);
    log.record(&event()).unwrap();
    let mut holder = Stopped::over(&place);
    let begun = Instant::now();
    // Threads that wait for one another wait no longer than one.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let refused = log.record(&event()).unwrap_err().0;
                let named = format!("process {} (flock) has locked audit.head and is stopped", holder.0.id());
                assert!(refused.contains(&named) || refused.contains("another thread"), "{refused}");
                assert!(refused.contains("kill -CONT") || refused.contains("another thread"), "{refused}");
            });
        }
    });
    assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(log.verify().unwrap_err().kind() == io::ErrorKind::TimedOut);
    holder.end();
    // Whoever gave up is as good as one that never asked: nothing is held, and nothing was written.
    place.record(1);
    log.record(&event()).unwrap();
    place.record(1);
    assert_eq!(place.names().iter().filter(|name| *name == "Test").count(), 4);
    assert_eq!(place.is_fine().records, place.lines().len() as u64);
}

#[test]
fn aud_3_who_comes_later_than_others_waits_no_longer_than_they_do() {
    let place = Place::new();
    let mut log = place.open();
    let limit = std::time::Duration::from_secs(2);
    log.lock.limit = limit;
    log.record(&event()).unwrap();
    let _holder = Stopped::over(&place);
    thread::scope(|scope| {
        for late in 0..3 {
            let log = &log;
            scope.spawn(move || {
                thread::sleep(limit * late / 3);
                let begun = Instant::now();
                log.record(&event()).unwrap_err();
                assert!(begun.elapsed() < limit * 5 / 4, "{late}: {:?}", begun.elapsed());
            });
        }
    });
}
