"""The AWS CLI at the server and `kmsfs kms` at the same home: the same words, the same answers."""

import contextlib
import io
import json
import os
import re
import sys

import pytest
from awscli.clidriver import create_clidriver

from conftest import KMSFS

POLICY = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:*","Resource":"*"}}'

# What is done to two keys that are made alike, KEY; OTHER is a second one. A dash before a command says that it fails.
SESSION = """
describe-key --key-id KEY
get-key-last-usage --key-id KEY
list-key-policies --key-id KEY
get-key-policy --key-id KEY --policy-name default
get-key-policy --key-id KEY
put-key-policy --key-id KEY --policy-name default --policy POLICY
-put-key-policy --key-id KEY --policy {
create-alias --alias-name alias/NAME --target-key-id KEY
-create-alias --alias-name alias/NAME --target-key-id KEY
-create-alias --alias-name NAME --target-key-id KEY
-create-alias --alias-name alias/aws/NAME --target-key-id KEY
list-aliases --key-id KEY
update-alias --alias-name alias/NAME --target-key-id OTHER
describe-key --key-id alias/NAME
list-aliases --key-id OTHER
delete-alias --alias-name alias/NAME
-delete-alias --alias-name alias/NAME
-describe-key --key-id alias/NAME
-describe-key --key-id nonsense
-describe-key --key-id 12345678-1234-1234-1234-123456789012
update-key-description --key-id KEY --description another
tag-resource --key-id KEY --tags TagKey=a,TagValue=b TagKey=c,TagValue=d
list-resource-tags --key-id KEY
untag-resource --key-id KEY --tag-keys a
list-resource-tags --key-id KEY
-tag-resource --key-id KEY --tags TagKey=aws:a,TagValue=b
-tag-resource --key-id KEY --tags TagKey=a,TagValue=b TagKey=a,TagValue=c
encrypt --key-id KEY --plaintext fileb://plain --encryption-context a=b,c=d
decrypt --ciphertext-blob fileb://blob --encryption-context c=d,a=b
decrypt --ciphertext-blob fileb://blob --encryption-context c=d,a=b --key-id KEY
-decrypt --ciphertext-blob fileb://blob --encryption-context c=d,a=b --key-id OTHER
-decrypt --ciphertext-blob fileb://blob
-decrypt --ciphertext-blob fileb://plain
re-encrypt --ciphertext-blob fileb://blob --source-encryption-context a=b,c=d --destination-key-id OTHER
-encrypt --key-id KEY --plaintext fileb://plain --dry-run
-encrypt --key-id nonsense --plaintext fileb://plain
generate-data-key --key-id KEY --key-spec AES_256
generate-data-key --key-id KEY --number-of-bytes 7
-generate-data-key --key-id KEY
-generate-data-key --key-id KEY --number-of-bytes 7 --key-spec AES_256
-generate-data-key --key-id KEY --number-of-bytes 1025
generate-data-key-without-plaintext --key-id KEY --key-spec AES_128
generate-random --number-of-bytes 5
get-key-rotation-status --key-id KEY
enable-key-rotation --key-id KEY
get-key-rotation-status --key-id KEY
disable-key-rotation --key-id KEY
rotate-key-on-demand --key-id KEY
list-key-rotations --key-id KEY
list-key-rotations --key-id KEY --include-key-material ALL_KEY_MATERIAL
create-grant --key-id KEY --grantee-principal arn:aws:iam::000000000000:user/bob --operations Decrypt Encrypt --name n
list-grants --key-id KEY
list-grants --key-id KEY --grantee-principal arn:aws:iam::000000000000:user/nobody
-create-grant --key-id KEY --grantee-principal bob --operations Decrypt
-create-grant --key-id KEY --grantee-principal arn:aws:iam::000000000000:user/bob --operations Nonsense
-revoke-grant --key-id KEY --grant-id 0000000000000000000000000000000000000000000000000000000000000000
-retire-grant --grant-token nonsense
disable-key --key-id KEY
-encrypt --key-id KEY --plaintext fileb://plain
-decrypt --ciphertext-blob fileb://blob --encryption-context c=d,a=b
-enable-key-rotation --key-id KEY
describe-key --key-id KEY
enable-key --key-id KEY
-get-parameters-for-import --key-id KEY --wrapping-algorithm RSAES_OAEP_SHA_256 --wrapping-key-spec RSA_2048
-delete-imported-key-material --key-id KEY
-cancel-key-deletion --key-id KEY
-schedule-key-deletion --key-id KEY --pending-window-in-days 6
-schedule-key-deletion --key-id KEY --pending-window-in-days 31
schedule-key-deletion --key-id KEY --pending-window-in-days 7
-schedule-key-deletion --key-id KEY --pending-window-in-days 7
-encrypt --key-id KEY --plaintext fileb://plain
-disable-key --key-id KEY
describe-key --key-id KEY
cancel-key-deletion --key-id KEY
describe-key --key-id KEY
-replicate-key --key-id KEY --replica-region eu-west-1
-update-primary-region --key-id KEY --primary-region eu-west-1
create-key --origin EXTERNAL --description external --tags TagKey=a,TagValue=b
describe-key --key-id MRK
-replicate-key --key-id MRK --replica-region us-east-1
-replicate-key --key-id MRK --replica-region Nowhere
replicate-key --key-id MRK --replica-region eu-west-1 --description there --tags TagKey=a,TagValue=b --policy POLICY
-replicate-key --key-id MRK --replica-region eu-west-1
replicate-key --key-id MRK --replica-region eu-west-2
describe-key --key-id MRK
describe-key --key-id MRK --region eu-west-1
-enable-key-rotation --key-id MRK --region eu-west-1
enable-key-rotation --key-id MRK
get-key-rotation-status --key-id MRK --region eu-west-1
rotate-key-on-demand --key-id MRK
list-key-rotations --key-id MRK --region eu-west-2
-update-primary-region --key-id MRK --primary-region sa-east-1
update-primary-region --key-id MRK --primary-region eu-west-1
describe-key --key-id MRK
-replicate-key --key-id MRK --replica-region eu-north-1
schedule-key-deletion --key-id MRK --region eu-west-1 --pending-window-in-days 7
describe-key --key-id MRK --region eu-west-1
-encrypt --key-id MRK --region eu-west-1 --plaintext fileb://plain
encrypt --key-id MRK --plaintext fileb://plain
cancel-key-deletion --key-id MRK --region eu-west-1
-create-key --origin NONSENSE
-create-key --key-spec NONSENSE
"""


class Outcome:
    """What a command said, without what differs from one key to another."""

    def __init__(self, code, out, err, names):
        self.code, self.out, self.err = code, out, err
        for name, text in names.items():
            self.out, self.err = self.out.replace(text, name), self.err.replace(text, name)
        self.answer = settled(json.loads(self.out)) if self.out.strip() else None
        error = re.search(r"An error occurred \(.*", self.err, re.S)
        self.error = re.sub(r"[0-9a-f]{64}", "HEX", error.group().strip()) if error else None


def settled(value, name=""):
    """Without times, ids, random bytes and tokens."""
    if isinstance(value, dict):
        return {key: settled(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [settled(one, name) for one in value]
    if name in ("Plaintext", "CiphertextBlob", "GrantToken"):
        return f"{len(value)} letters"
    if "Date" in name or name in ("ValidTo", "ParametersValidTo", "Timestamp"):
        assert isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", value), (name, value)
        return "TIME"
    if isinstance(value, str):
        value = re.sub(r"[0-9a-f]{64}", "HEX", value)
        value = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", value)
    return value


class Side:
    """One of the two clients, and the keys that it works on."""

    def __init__(self, name, home, run):
        self.name, self.home, self.run = name, home, run
        self.key, self.other = (self.made("create-key", "--description", "alike") for _ in range(2))
        self.related = self.made("create-key", "--multi-region")
        self.directory = home.directory / name
        self.directory.mkdir()
        (self.directory / "plain").write_bytes(b"plain text")
        context = ("--encryption-context", "a=b,c=d")
        blob = home.client().encrypt(KeyId=self.key["Arn"], Plaintext=b"sealed", EncryptionContext={"a": "b", "c": "d"})
        (self.directory / "blob").write_bytes(blob["CiphertextBlob"])
        assert context

    def made(self, *words):
        code, out, err = self.run(words)
        assert code == 0, err
        return json.loads(out)["KeyMetadata"]

    def outcome(self, line):
        places = {"KEY": self.key["KeyId"], "OTHER": self.other["KeyId"], "MRK": self.related["KeyId"]}
        places |= {"NAME": self.name, "POLICY": POLICY}
        words = [places.get(word, word) for word in line.lstrip("-").split(" ")]
        words = [word.replace("/NAME", f"/{self.name}").replace("fileb://", f"fileb://{self.directory}/") for word in words]
        code, out, err = self.run(words)
        names = {"KEY": self.key["KeyId"], "OTHER": self.other["KeyId"], "MRK": self.related["KeyId"], "NAME": self.name}
        return Outcome(code, out, err, names)


@pytest.fixture(scope="module")
def profile(home):
    """The files of a profile as docs/CLIENTS.md shows them."""
    aws = home.directory / ".aws"
    aws.mkdir(exist_ok=True)
    credential = home.credential()
    (aws / "credentials").write_text(
        f"[kmsfs]\naws_access_key_id = {credential['accessKeyId']}\naws_secret_access_key = {credential['secretAccessKey']}\n"
    )
    (aws / "config").write_text(
        f"[profile kmsfs]\nregion = us-east-1\noutput = json\nendpoint_url = {home.endpoint}\ncli_timestamp_format = iso8601\n"
    )
    return aws


def aws_in_process(home, profile):
    """The AWS CLI in this process: to start Python for each command takes a second."""

    def run(words):
        environment = {**home.environment, "AWS_PROFILE": "kmsfs", "AWS_CONFIG_FILE": str(profile / "config")}
        environment |= {"AWS_SHARED_CREDENTIALS_FILE": str(profile / "credentials")}
        before = dict(os.environ)
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        try:
            os.environ.clear()
            os.environ.update(environment)
            # Where its own data lies, the CLI tells botocore so.
            os.environ["AWS_DATA_PATH"] = before.get("AWS_DATA_PATH", "")
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    code = create_clidriver().main(["kms", *words])
                except SystemExit as ended:
                    code = ended.code
        finally:
            os.environ.clear()
            os.environ.update(before)
        out.flush()
        return code, out.buffer.getvalue().decode(), err.getvalue()

    return run


def test_the_two_say_the_same(home, profile):
    def ours(words):
        done = home.run(KMSFS, "kms", *words)
        return done.returncode, done.stdout, done.stderr

    aws, kmsfs = Side("aws-side", home, aws_in_process(home, profile)), Side("our-side", home, ours)
    wrong = []
    for line in SESSION.strip().splitlines():
        one, other = aws.outcome(line), kmsfs.outcome(line)
        fails = line.startswith("-")
        if (one.code != 0) != fails or (other.code != 0) != fails:
            wrong.append((line, one.code, one.err, other.code, other.err))
        elif one.answer != other.answer or one.error != other.error:
            wrong.append((line, one.answer, other.answer, one.error, other.error))
    assert not wrong, "\n".join(map(str, wrong))


def test_the_program_itself_works_with_a_profile(home, profile):
    aws = os.path.join(os.path.dirname(sys.executable), "aws")
    done = home.run(aws, "--profile", "kmsfs", "kms", "create-key", "--description", "of a program")
    assert done.returncode == 0, done.stderr
    key = json.loads(done.stdout)["KeyMetadata"]["KeyId"]
    assert "of a program" in home.kmsfs("kms", "describe-key", "--key-id", key)
