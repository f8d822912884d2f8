"""The table of operations in docs/CLIENTS.md is complete and true: each row and each member of boto3's service model is asked for."""

import json
import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

DOCUMENT = Path(__file__).parents[2] / "docs" / "CLIENTS.md"


def rows():
    """Operation, whether it is here, members that are left out."""
    section = DOCUMENT.read_text(encoding="utf-8").split("\n## Operations\n", 1)[1].split("\n## ", 1)[0]
    found = {}
    for name, here, left_out in re.findall(r"(?m)^\| (\w+) \| (.+?) \| ?(.*?) ?\|$", section):
        if name != "operation":
            assert name not in found
            found[name] = (not here.startswith("no: "), set(re.findall(r"`(\w+)`", left_out)))
    return found


@pytest.fixture
def send(home):
    """Sends an operation with a body as it stands; the error that comes back."""
    client = home.client(parameter_validation=False)
    asked = {}

    def replace(params, **_):
        params["body"] = json.dumps(asked["body"]).encode()
        params["headers"]["X-Amz-Target"] = f"TrentService.{asked['operation']}"

    client.meta.events.register("before-call.kms", replace)

    def send(operation, body):
        asked.update(operation=operation, body=body)
        try:
            client.list_keys()
        except ClientError as error:
            told = error.response["Error"]
            return f"{told['Code']}: {told.get('Message', '')}"
        return "ok"

    return send


def test_the_table_has_every_operation_of_the_model(kms):
    assert set(rows()) == set(kms.meta.service_model.operation_names)


def test_an_operation_is_there_where_the_table_says_so(send):
    for name, (is_here, _) in rows().items():
        told = send(name, {})
        assert told.startswith("UnknownOperationException") != is_here, (name, told)


def test_every_member_is_read_or_refused_by_name(kms, send):
    """A value that fits no type of a member is refused where the member is read, and passed over where it is not."""
    for name, (is_here, left_out) in rows().items():
        shape = kms.meta.service_model.operation_model(name).input_shape
        members = shape.members if shape else {}
        assert left_out <= set(members), name
        for member, of in members.items():
            if not is_here:
                continue
            unfit = "text" if of.type_name in ("map", "structure", "list") else {"un": ["fit"]}
            told = send(name, {member: unfit})
            if member in left_out:
                fit = {"structure": {}, "list": ["X"], "boolean": True}.get(of.type_name, "value")
                told = send(name, minimal(kms, name) | {member: fit})
                refusal = f"UnsupportedOperationException: The parameter {member} is not supported by this version of kmsfs."
                assert told == refusal or told.startswith("CustomKeyStoreNotFoundException"), (name, member, told)
            else:
                assert told.startswith("SerializationException"), (name, member, told)


def minimal(kms, name):
    """What the operation cannot do without, so that nothing but the member is wrong."""
    shape = kms.meta.service_model.operation_model(name).input_shape
    known = {
        "KeyId": "alias/none",
        "CiphertextBlob": "AAAA",
        "Operations": ["Encrypt"],
        "GranteePrincipal": "arn:aws:iam::000000000000:user/b",
        "RetiringPrincipal": "arn:aws:iam::000000000000:user/b",
        "PublicKey": "AAAA",
        "KeyAgreementAlgorithm": "ECDH",
        "KeyPairSpec": "RSA_2048",
        "DestinationKeyId": "alias/none",
        "ReplicaRegion": "eu-west-1",
        "PrimaryRegion": "eu-west-1",
    }
    return {member: known[member] for member in shape.required_members}
