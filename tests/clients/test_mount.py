"""A mount of the home follows what a client of the server does with its key."""

import errno

import pytest



@pytest.fixture(scope="module")
def mounted(home, kms):
    """A key, and a directory that is mounted under it."""
    from conftest import KMSFS  # the program's path

    key = kms.create_key(Description="of a mount")["KeyMetadata"]
    kms.create_alias(AliasName="alias/mounted", TargetKeyId=key["KeyId"])
    (home.directory / "mnt").mkdir()
    home.kmsfs("init", "vault", "--key", "alias/mounted")
    home.kmsfs("mount", "vault", "mnt")
    yield key, home.directory / "mnt"
    done = home.run(KMSFS, "umount", "mnt")
    assert done.returncode == 0, done.stderr


def refused(path):
    with pytest.raises(OSError) as raised:
        path.read_bytes()
    return raised.value.errno


def test_files_obey_what_boto3_does_when_it_returns(kms, mounted):
    key, mnt = mounted
    file = mnt / "file"
    file.write_bytes(b"content")
    with open(file, "rb") as held:
        assert held.read(3) == b"con"
        kms.disable_key(KeyId=key["KeyId"])
        assert refused(file) == errno.ENOKEY
        with pytest.raises(OSError) as raised:
            held.seek(0)
            held.read()
        assert raised.value.errno == errno.ENOKEY
        kms.enable_key(KeyId=key["KeyId"])
        assert file.read_bytes() == b"content"
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    assert refused(file) == errno.EKEYREVOKED
    kms.cancel_key_deletion(KeyId=key["KeyId"])
    kms.enable_key(KeyId=key["KeyId"])
    assert file.read_bytes() == b"content"


def test_a_file_that_is_made_after_a_rotation_has_the_new_version(home, kms, mounted):
    key, mnt = mounted
    (mnt / "before").write_bytes(b"1")
    kms.rotate_key_on_demand(KeyId=key["KeyId"])
    (mnt / "after").write_bytes(b"2")
    assert (mnt / "before").read_bytes() == b"1" and (mnt / "after").read_bytes() == b"2"
    versions = [home.run("getfattr", "--only-values", "-n", "user.kmsfs.key-version", f"mnt/{name}").stdout for name in ("before", "after")]
    assert int(versions[1]) == int(versions[0]) + 1


def test_commands_obey_the_server_as_well(home, kms, mounted):
    key, _ = mounted
    kms.disable_key(KeyId=key["KeyId"])
    keys = home.kmsfs("keys")
    assert any("alias/mounted" in line and "Disabled" in line for line in keys.splitlines()), keys
    # And the other way round.
    home.kmsfs("kms", "enable-key", "--key-id", key["KeyId"])
    assert kms.describe_key(KeyId="alias/mounted")["KeyMetadata"]["KeyState"] == "Enabled"
