"""Libraries that encrypt with keys of AWS KMS: the AWS Encryption SDK and Tink."""

import os

import aws_encryption_sdk
import botocore.session
import pytest
import tink
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
from aws_encryption_sdk.identifiers import CommitmentPolicy
from tink import aead
from tink.integration import awskms


@pytest.fixture
def environment(home, monkeypatch):
    """Where the server is and who asks, as a program of its own would be told."""
    credential = home.credential()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": home.endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": credential["accessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credential["secretAccessKey"],
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)


def keys(kms, count):
    return [kms.create_key()["KeyMetadata"]["Arn"] for _ in range(count)]


def provider(*arns):
    return aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=list(arns), botocore_session=botocore.session.get_session())


@pytest.mark.usefixtures("environment")
def test_the_encryption_sdk_opens_a_message_with_either_of_its_keys_and_with_none_that_is_disabled(kms):
    one, other = keys(kms, 2)
    client = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    for length, context in [(0, {}), (1, {"a": "bc"}), (300_000, {"purpose": "Prüfung"})]:
        message = os.urandom(length)
        sealed, _ = client.encrypt(source=message, key_provider=provider(one, other), encryption_context=context)
        for arn in [one, other]:
            opened, header = client.decrypt(source=sealed, key_provider=provider(arn))
            assert opened == message and context.items() <= header.encryption_context.items()
    kms.disable_key(KeyId=one)
    assert client.decrypt(source=sealed, key_provider=provider(one, other))[0] == message
    with pytest.raises(AWSEncryptionSDKClientError):
        client.decrypt(source=sealed, key_provider=provider(one))


@pytest.mark.usefixtures("environment")
def test_tink_wraps_envelopes_and_refuses_other_associated_data(kms):
    (arn,) = keys(kms, 1)
    aead.register()
    uri = f"aws-kms://{arn}"
    remote = awskms.new_client(boto3_client=kms, key_uri=uri).get_aead(uri)
    sealed = remote.encrypt(b"hello", b"associated")
    assert remote.decrypt(sealed, b"associated") == b"hello"
    with pytest.raises(tink.TinkError):
        remote.decrypt(sealed, b"other")
    envelope = aead.KmsEnvelopeAead(aead.aead_key_templates.AES256_GCM, remote)
    message = os.urandom(100_000)
    assert envelope.decrypt(envelope.encrypt(message, b""), b"") == message
