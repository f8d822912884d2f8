//! Trees as deep, and directories as full, as programs make them.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use kmsfs::fs::{Caller, Filesystem, Options, ROOT};
use kmsfs::store::Home;
use kmsfs::volume::Volume;

use crate::fixture::{Fixture, sh};

const ME: Caller = Caller { uid: 0, gid: 0, pid: 1 };

/// Goes to `sys.argv[1]` and `sys.argv[2]` levels down, and runs what `sys.argv[3]` says there.
const DOWN: &str = "import os,sys\nos.chdir(sys.argv[1])\nfor n in range(int(sys.argv[2])):\n    \
                    os.path.isdir('d') or os.mkdir('d')\n    os.chdir('d')\nexec(sys.argv[3])";

#[test]
fn the_depth_of_a_tree_costs_neither_stack_nor_descriptors() {
    let fixture = Fixture::unmounted();
    let (home, dir) = (fixture.path("home"), fixture.dir());
    let deep = move || {
        let home = Home::open(&home).unwrap();
        let volume = Volume::open(&dir, &*home.authenticator()).unwrap();
        let fs = Filesystem::new(volume, home.data_keys(), home.authenticator(), Options::default()).unwrap();
        let mut inodes = vec![ROOT];
        for _ in 0..10_000 {
            let made = fs.mkdir(*inodes.last().unwrap(), OsStr::new("d"), 0o755, ME).unwrap();
            inodes.push(made.value.ino);
        }
        let (answer, handle) = fs.create(inodes[10_000], OsStr::new("f"), 0o644, ME).unwrap();
        fs.release(handle).unwrap();
        fs.forget(answer.value.ino, 1);
        drop(answer);
        // The upper half was given up meanwhile, and is found again; then the lower half from there.
        assert_eq!(fs.lookup(inodes[4_000], OsStr::new("d")).unwrap().value.ino, inodes[4_001]);
        assert!(fs.lookup(inodes[10_000], OsStr::new("f")).is_ok());
        // As the kernel forgets a tree: from its top, while what lies beneath is still known.
        inodes[1..].iter().for_each(|ino| fs.forget(*ino, 1));
    };
    let outcome = thread::Builder::new().stack_size(256 * 1024).spawn(deep).unwrap().join();
    // Who removes the fixture goes down by recursion.
    sh(&format!("rm -r {}/d", fixture.dir().display()));
    outcome.unwrap();
}

#[test]
fn a_file_deeper_than_a_path_can_say_is_written_found_and_recovered() {
    let fixture = Fixture::new();
    let mnt = fixture.mnt();
    let at = |script: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", DOWN]).arg(&mnt).args(["2500", script]);
        command
    };
    let write =
        "f=open('f','w'); f.write('deep'*2000); f.flush(); print('written',flush=True); sys.stdin.read()";
    let mut writer = at(write).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(writer.stdout.as_mut().unwrap()), &mut said)
        .unwrap();
    assert_eq!(said, "written\n");
    fixture.kill();
    drop(writer.stdin.take());
    writer.wait().unwrap();
    fixture.mount(&[]);
    let read = "assert open('f').read() == 'deep'*2000; os.rename('f','g'); assert os.listdir('.') == ['g']";
    assert!(at(read).status().unwrap().success());
    sh(&format!("mv {0}/d {0}/moved; mkdir {0}/top; mv {0}/moved {0}/top/d; rm -r {0}/top", mnt.display()));
    assert_eq!(fs::read_dir(&mnt).unwrap().count(), 0);
}
