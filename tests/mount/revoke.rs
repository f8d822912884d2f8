//! Revocation under load: many descriptors, cached pages, maps, writers.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::fixture::{ENOKEY, Fixture, errno, pattern};

#[test]
fn no_read_succeeds_after_disable_key_returned_with_300_descriptors_open() {
    let fixture = Fixture::new();
    let files: Vec<File> = (0..300)
        .map(|number| {
            let path = fixture.file(&format!("f{number}"));
            fs::write(&path, pattern(number, 30_000)).unwrap();
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            file.read_exact_at(&mut vec![0; 30_000], 0).unwrap();
            file
        })
        .collect();
    let (gone, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let (late, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for seed in 0..3_usize {
            let (files, gone, stop, late, refused) = (&files, &gone, &stop, &late, &refused);
            scope.spawn(move || {
                let mut page = [0; 4096];
                for turn in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let began_after = gone.load(Ordering::SeqCst);
                    let file = &files[(turn * 7 + seed * 31) % files.len()];
                    match file.read_at(&mut page, 4096 * (turn as u64 % 7)) {
                        Ok(_) if began_after => late.fetch_add(1, Ordering::SeqCst),
                        Ok(_) => 0,
                        Err(error) => {
                            assert_eq!(error.raw_os_error(), Some(ENOKEY));
                            refused.fetch_add(1, Ordering::SeqCst)
                        }
                    };
                }
            });
        }
        thread::sleep(Duration::from_millis(200));
        fixture.with_key("disable-key", &fixture.key);
        gone.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(late.load(Ordering::SeqCst), 0, "reads that succeeded after the command returned");
    assert!(refused.load(Ordering::SeqCst) > 0);
    fixture.with_key("enable-key", &fixture.key);
    for (number, file) in files.iter().enumerate() {
        let mut read = vec![0; 30_000];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == pattern(number as u64, 30_000), "descriptor {number}");
    }
}

#[test]
fn a_map_of_a_revoked_file_faults_and_nothing_written_to_it_is_lost() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    fs::write(&path, vec![b'.'; 50_000]).unwrap();
    // Writes through the map, says so, waits to be told, and touches the map again.
    let script = "import mmap,sys\nf=open(sys.argv[1],'r+b')\nm=mmap.mmap(f.fileno(),0)\nm[40000:40004]=b'dirt'\n\
                  print('mapped',flush=True)\nsys.stdin.readline()\nm[40000]\nprint('read')";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "mapped\n");
    fixture.with_key("disable-key", &fixture.key);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGBUS));
    fixture.with_key("enable-key", &fixture.key);
    assert_eq!(&fs::read(&path).unwrap()[40_000..40_004], b"dirt");
}

#[test]
fn files_of_another_key_do_not_notice() {
    let fixture = Fixture::new();
    fixture.new_key("alias/other");
    fs::create_dir(fixture.file("other")).unwrap();
    rustix::fs::setxattr(
        fixture.file("other"),
        "user.kmsfs.default-key",
        b"alias/other",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let mut other = File::create(fixture.file("other/f")).unwrap();
    fs::write(fixture.file("f"), b"x").unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0;
            while !stop.load(Ordering::SeqCst) {
                other.write_all(b"line\n").unwrap();
                written += 5;
            }
            written
        });
        for _ in 0..10 {
            fixture.with_key("disable-key", &fixture.key);
            assert_eq!(errno(fs::read(fixture.file("f"))), ENOKEY);
            fixture.with_key("enable-key", &fixture.key);
            assert_eq!(fs::read(fixture.file("f")).unwrap(), b"x");
        }
        stop.store(true, Ordering::SeqCst);
        let written: u64 = writer.join().unwrap();
        assert_eq!(fs::metadata(fixture.file("other/f")).unwrap().len(), written);
    });
}

#[test]
fn what_was_acknowledged_before_the_revocation_is_there_afterwards() {
    let fixture = Fixture::new();
    let path = fixture.file("log");
    let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0_u64.. {
                if let Err(error) = file.write_all(&number.to_be_bytes()) {
                    assert_eq!(error.raw_os_error(), Some(ENOKEY));
                    return number;
                }
            }
            unreachable!("the key is disabled before the numbers end")
        });
        thread::sleep(Duration::from_millis(200));
        fixture.with_key("disable-key", &fixture.key);
        writer.join().unwrap()
    });
    drop(file);
    fixture.with_key("enable-key", &fixture.key);
    let expected: Vec<u8> = (0..written).flat_map(u64::to_be_bytes).collect();
    assert!(fs::read(&path).unwrap() == expected, "{written} numbers were acknowledged");
}

#[test]
fn a_mount_made_while_the_key_is_disabled_works_when_it_is_enabled() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), b"content").unwrap();
    fixture.umount();
    fixture.with_key("disable-key", &fixture.key);
    fixture.mount(&[]);
    assert_eq!(errno(fs::read(fixture.file("f"))), ENOKEY);
    assert_eq!(fs::metadata(fixture.file("f")).unwrap().len(), 7);
    fixture.with_key("enable-key", &fixture.key);
    assert_eq!(fs::read(fixture.file("f")).unwrap(), b"content");
}

#[test]
fn a_stopped_mount_is_named_and_follows_when_it_runs_again() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), b"content").unwrap();
    let daemon = rustix::process::Pid::from_raw(fixture.daemon() as i32).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::STOP).unwrap();
    let said = fixture.run(&["kms", "disable-key", "--key-id", &fixture.key]);
    rustix::process::kill_process(daemon, rustix::process::Signal::CONT).unwrap();
    assert_eq!(said.code, 10, "{}", said.err);
    assert!(
        said.err.contains(&format!("the mount {} did not confirm", fixture.mnt().display())),
        "{}",
        said.err
    );
    fixture.with_key("disable-key", &fixture.key);
    assert_eq!(errno(fs::read(fixture.file("f"))), ENOKEY);
    fixture.with_key("enable-key", &fixture.key);
    assert_eq!(fs::read(fixture.file("f")).unwrap(), b"content");
}

#[test]
fn an_fsync_after_the_revocation_goes_to_the_ciphertext() {
    let fixture = Fixture::new();
    let mut file = File::create(fixture.file("f")).unwrap();
    file.write_all(b"content").unwrap();
    fixture.with_key("disable-key", &fixture.key);
    // No key is needed to make ciphertext durable; and what is not there any more is no success.
    file.sync_all().unwrap();
    fs::remove_file(fixture.dir().join("f")).unwrap();
    assert_eq!(errno(file.sync_all()), libc::ESTALE);
}

#[test]
fn a_file_made_while_its_alias_moves_and_keys_come_and_go_obeys_the_key_in_its_header() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.key.clone(), fixture.new_key("alias/other"));
    let ended = AtomicBool::new(false);
    let made: Vec<(PathBuf, File)> = thread::scope(|scope| {
        let makers: Vec<_> = (0..3)
            .map(|maker| {
                let (fixture, ended) = (&fixture, &ended);
                scope.spawn(move || {
                    let mut made = Vec::new();
                    for number in 0..400 {
                        if ended.load(Ordering::SeqCst) {
                            break;
                        }
                        let name = format!("{maker}-{number}");
                        let mut options = File::options();
                        options.read(true).write(true).create_new(true);
                        if let Ok(file) = options.open(fixture.file(&name))
                            && file.write_all_at(b"content", 0).is_ok()
                        {
                            made.push((PathBuf::from(name), file));
                        }
                        thread::sleep(Duration::from_millis(5));
                    }
                    made
                })
            })
            .collect();
        for round in 0..12 {
            let (to, off) = if round % 2 == 0 { (&other, &one) } else { (&one, &other) };
            fixture.kms(&["update-alias", "--alias-name", "alias/main", "--target-key-id", to]);
            fixture.with_key("disable-key", off);
            if round % 3 == 0 {
                fixture.with_key("disable-key", to);
                fixture.with_key("enable-key", to);
            }
            fixture.with_key("enable-key", off);
        }
        ended.store(true, Ordering::SeqCst);
        makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect()
    });
    assert!(made.len() > 20, "{} files were made", made.len());
    let key_of = |name: &Path| {
        let mut key = vec![0; 256];
        let len = rustix::fs::getxattr(fixture.mnt().join(name), "user.kmsfs.key-id", &mut key).unwrap();
        String::from_utf8_lossy(&key[..len]).into_owned()
    };
    let keys: Vec<_> = made.iter().map(|(name, _)| key_of(name)).collect();
    for off in [&one, &other] {
        assert!(keys.iter().any(|key| key.ends_with(off.as_str())), "no file is under {off}");
        fixture.with_key("disable-key", off);
        for ((name, file), key) in made.iter().zip(&keys) {
            let mut content = [0; 7];
            let by_descriptor = file.read_exact_at(&mut content, 0);
            let by_name = fs::read(fixture.mnt().join(name));
            if key.ends_with(off.as_str()) {
                assert_eq!((errno(by_descriptor), errno(by_name)), (ENOKEY, ENOKEY), "{name:?}");
            } else {
                by_descriptor.unwrap();
                assert!(&content == b"content" && by_name.unwrap() == b"content", "{name:?}");
            }
        }
        fixture.with_key("enable-key", off);
    }
}
