"""The encryption context is pairs and not their letters: {"ab": "c"} is not {"a": "bc"}, at every door that takes one.

LocalStack and moto join names and values, so that the one opens what the other closed.
"""

import itertools
import json

import pytest
from botocore.exceptions import ClientError

from conftest import ACCOUNT

# Each is others' letters in another order or cut at another place; no two are the same context.
ALIKE = [
    {"ab": "c"},
    {"a": "bc"},
    {"abc": ""},
    {"ab": "", "c": ""},
    {"a": "b", "c": ""},
    {"a": "", "bc": ""},
    {"a": "", "b": "c"},
    {"b": "ac"},
    {"AB": "c"},
    {"ab": "C"},
    {"ab": "c "},
    {"ab": "c", "": ""},
    {"ab=c": ""},
    {'{"ab":"c"}': ""},
    {},
]
PAIRS = [(one, two) for one, two in itertools.permutations(range(len(ALIKE)), 2)]


def is_refused(call, **request):
    """Whether it is, as AWS does: by name, and without a word on what does not fit."""
    try:
        call(**request)
    except ClientError as error:
        told = error.response["Error"]
        assert (told["Code"], told.get("Message", "")) == ("InvalidCiphertextException", ""), told
        return True
    return False


def sealed(kms, key, maker, context):
    """A ciphertext under a context, and what is in it, where the maker says it."""
    match maker:
        case "encrypt":
            return kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"], b"x"
        case "re_encrypt":
            blob = kms.encrypt(KeyId=key, Plaintext=b"y")["CiphertextBlob"]
            moved = kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key, DestinationEncryptionContext=context)
            return moved["CiphertextBlob"], b"y"
        case "generate_data_key":
            made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)
            return made["CiphertextBlob"], made["Plaintext"]
        case "generate_data_key_without_plaintext":
            return kms.generate_data_key_without_plaintext(KeyId=key, KeySpec="AES_256", EncryptionContext=context)["CiphertextBlob"], None
        case "generate_data_key_pair":
            made = kms.generate_data_key_pair(KeyId=key, KeyPairSpec="ECC_NIST_P256", EncryptionContext=context)
            return made["PrivateKeyCiphertextBlob"], made["PrivateKeyPlaintext"]
        case "generate_data_key_pair_without_plaintext":
            request = {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": context}
            return kms.generate_data_key_pair_without_plaintext(**request)["PrivateKeyCiphertextBlob"], None


@pytest.mark.parametrize(
    "maker",
    [
        "encrypt",
        "re_encrypt",
        "generate_data_key",
        "generate_data_key_without_plaintext",
        "generate_data_key_pair",
        "generate_data_key_pair_without_plaintext",
    ],
)
def test_cr_2_what_one_context_closed_no_other_opens(kms, key, maker):
    made = [sealed(kms, key["KeyId"], maker, context) for context in ALIKE]
    for (blob, plain), context in zip(made, ALIKE, strict=True):
        opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"]
        assert plain is None or opened == plain
    for one, two in PAIRS:
        assert is_refused(kms.decrypt, CiphertextBlob=made[one][0], EncryptionContext=ALIKE[two]), (ALIKE[one], ALIKE[two])


def test_cr_2_nor_does_re_encryption_take_another_for_it(kms, key):
    made = [sealed(kms, key["KeyId"], "encrypt", context)[0] for context in ALIKE]
    for one, two in PAIRS:
        request = {"CiphertextBlob": made[one], "SourceEncryptionContext": ALIKE[two], "DestinationKeyId": key["KeyId"]}
        assert is_refused(kms.re_encrypt, **request), (ALIKE[one], ALIKE[two])


def test_cr_2_the_order_of_pairs_does_not_count(kms, key):
    blob, _ = sealed(kms, key["KeyId"], "encrypt", {"a": "b", "c": "d"})
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"c": "d", "a": "b"})["Plaintext"] == b"x"
    assert is_refused(kms.decrypt, CiphertextBlob=blob, EncryptionContext={"a": "d", "c": "b"})


@pytest.mark.parametrize("constraint", ["EncryptionContextEquals", "EncryptionContextSubset"])
def test_cr_2_a_grant_for_one_context_is_none_for_another(home, kms, constraint):
    root = f"arn:aws:iam::{ACCOUNT}:role/admin"
    statement = {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"}
    statements = [statement, statement | {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:CreateGrant"}]
    grantee = f"arn:aws:iam::{ACCOUNT}:user/context"
    other = home.client(grantee)
    granted = {"ab": "c"}
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    own = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=granted)["CiphertextBlob"]
    kms.create_grant(
        KeyId=key, GranteePrincipal=grantee, Operations=["Encrypt", "Decrypt", "GenerateDataKey"], Constraints={constraint: granted}
    )
    # From here on the grant alone lets the user in: the account is named for one operation that is not asked for.
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    kms.put_key_policy(KeyId=key, Policy=policy, BypassPolicyLockoutSafetyCheck=True)
    assert other.decrypt(CiphertextBlob=own, EncryptionContext=granted)["Plaintext"] == b"x"
    for context in ALIKE:
        # A name in a constraint fits in capitals and small letters (AWS KMS API, GrantConstraints); a value does not.
        fits = {name.lower(): value for name, value in context.items()}
        is_granted = fits == granted if constraint.endswith("Equals") else granted.items() <= fits.items()
        for call, request in [
            (other.encrypt, {"Plaintext": b"x"}),
            (other.generate_data_key, {"KeySpec": "AES_256"}),
        ]:
            if is_granted:
                call(KeyId=key, EncryptionContext=context, **request)
                continue
            with pytest.raises(ClientError) as raised:
                call(KeyId=key, EncryptionContext=context, **request)
            assert raised.value.response["Error"]["Code"] == "AccessDeniedException", context
