//! POSIX access control lists decide as they do on the backing filesystem.

use std::fs;

use crate::fixture::{Fixture, sh};

const AS_NOBODY: &str = "setpriv --reuid=nobody --regid=nogroup --clear-groups";

#[test]
fn an_acl_lets_in_and_keeps_out() {
    let fixture = Fixture::open_to_all();
    let mnt = fixture.mnt();
    let mnt = mnt.display();
    sh(&format!(
        "cd {mnt}; echo given > given; chmod 600 given; setfacl -m u:nobody:r given
         echo denied > denied; setfacl -m u:nobody:- denied; chmod 644 denied
         mkdir dir; chmod 700 dir; setfacl -m u:nobody:rwx dir"
    ));
    let out = sh(&format!(
        "cd {mnt}; {AS_NOBODY} cat given; ! {AS_NOBODY} cat denied 2>&1; ! {AS_NOBODY} sh -c 'echo x >> given' 2>&1
         {AS_NOBODY} sh -c 'echo made > dir/f'; setfacl -b dir; ! {AS_NOBODY} cat dir/f 2>&1"
    ));
    assert_eq!(out.matches("ermission denied").count(), 3, "{out}");
    assert!(out.contains("given\n"), "{out}");
}

#[test]
fn a_default_acl_is_inherited_as_outside_and_the_mask_counts_without_one() {
    let fixture = Fixture::open_to_all();
    let outside = fixture.path("outside");
    fs::create_dir(&outside).unwrap();
    let script = "umask 027; setfacl -d -m u:nobody:rwx,g::rw .; mkdir sub; echo f > f; mkfifo p; mkdir sub/sub; chmod 640 f
                  setfacl -k sub; mkdir sub/plain; echo g > sub/g; mkfifo sub/p; umask 0; echo h > sub/h; getfacl . f p sub sub/*";
    let listed = |dir: &std::path::Path| {
        fs::create_dir(dir.join("d")).unwrap();
        sh(&format!("cd {}/d; {script}", dir.display()))
    };
    assert_eq!(listed(&fixture.mnt()), listed(&outside));
}
