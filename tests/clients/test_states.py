"""Every operation on a key of each kind in each state: `states.txt` says what AWS KMS answers, and boto3 asks here."""

import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from conftest import ACCOUNT

TABLE = Path(__file__).with_name("states.txt")
STATES = {"E": "Enabled", "D": "Disabled", "P": "PendingDeletion", "I": "PendingImport"}
KINDS = {
    "symmetric": {},
    "external": {"Origin": "EXTERNAL"},
    "rsa": {"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"},
    "hmac": {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"},
}
# Operations that name no key of the caller's.
KEYLESS = {"CreateKey", "ListKeys", "ListRetirableGrants", "GenerateRandom"}
# Operations of AWS KMS on keys that this table has none of: of other kinds, and of several Regions (tests/kms/states.rs).
OF_OTHER_KEYS = {"Encapsulate", "Decapsulate", "ReplicateKey", "UpdatePrimaryRegion"}
GRANT = "0" * 64
USER = f"arn:aws:iam::{ACCOUNT}:user/b"
POLICY = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}}'
EXPECTED = {
    "dis": "DisabledException: ARN is disabled.",
    "del": "KMSInvalidStateException: ARN is pending deletion.",
    "not": "KMSInvalidStateException: ARN is not pending deletion.",
    "imp": "KMSInvalidStateException: ARN is pending import.",
    "ext": "UnsupportedOperationException: ARN origin is EXTERNAL which is not valid for this operation.",
    "own": "UnsupportedOperationException: ARN origin is AWS_KMS which is not valid for this operation.",
    "none": "KMSInvalidStateException: No available key material pending rotation for the key: ARN.",
    "kind": "UnsupportedOperationException: ",
    "use": "InvalidKeyUsageException: ARN key usage is USAGE which is not valid for OPERATION.",
    "spec": "InvalidKeyUsageException: You cannot generate a data key with an asymmetric CMK",
    "wrong": "IncorrectKeyException: The key ID in the request does not identify a CMK that can perform this operation.",
    "gone": f"NotFoundException: Grant ID {GRANT} not found",
}


def cells():
    """Kind, state, case and what stands there."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    kinds, states, *rows = [[part.split() for part in line.split("|")] for line in lines]
    found = []
    for (case,), *parts in rows:
        for (kind,), columns, row in zip(kinds[1:], states[1:], parts, strict=True):
            found += [(kind, STATES[letter], case, cell) for letter, cell in zip(columns, row, strict=True)]
    return found


def operation(case):
    return re.sub("^(ReEncrypt|UpdateAlias)(From|To)$", r"\1", case)


class Bench:
    """Keys in states, and what requests need."""

    def __init__(self, kms, kind):
        self.kms, self.kind, self.number, self.keys = kms, kind, 0, {}
        self.usage = KINDS[kind].get("KeyUsage", "ENCRYPT_DECRYPT")
        # Another key of the kind, an alias of it, and a ciphertext of a symmetric one.
        self.other = self.made()["KeyId"]
        kms.create_alias(AliasName=f"alias/states-{kind}-other", TargetKeyId=self.other)
        source = kms.create_key()["KeyMetadata"]["KeyId"]
        self.target = source
        self.blob = kms.encrypt(KeyId=source, Plaintext=b"x")["CiphertextBlob"]

    def made(self, material=True):
        key = self.kms.create_key(**KINDS[self.kind])["KeyMetadata"]
        if self.kind == "external" and material:
            self.kms.import_key_material(**self.material(key["KeyId"]))
        return key

    def material(self, key):
        """A request that imports the same material each time."""
        given = self.kms.get_parameters_for_import(KeyId=key, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048")
        oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
        wrapped = serialization.load_der_public_key(given["PublicKey"]).encrypt(bytes(32), oaep)
        return {
            "KeyId": key,
            "ImportToken": given["ImportToken"],
            "EncryptedKeyMaterial": wrapped,
            "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
        }

    def state(self, key):
        return self.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"]

    def key(self, state):
        """A key in that state with an alias, a ciphertext and a code of its own: the one from before, if it still is there."""
        key = self.keys.get(state)
        if key is None or self.state(key) != state:
            key = self.keys[state] = self.new(state)
        return key

    def new(self, state):
        key = self.made(material=state != "PendingImport")
        name, self.number = key["KeyId"], self.number + 1
        key["Alias"] = f"alias/states-{self.kind}-{self.number}"
        self.kms.create_alias(AliasName=key["Alias"], TargetKeyId=name)
        key["Blob"], key["Code"] = self.blob, bytes(32)
        if state == "PendingImport":
            # A ciphertext of a key without material: made before the material was deleted.
            self.kms.import_key_material(**self.material(name))
        if self.usage == "ENCRYPT_DECRYPT":
            key["Blob"] = self.kms.encrypt(KeyId=name, Plaintext=b"x", EncryptionAlgorithm=self.algorithm())["CiphertextBlob"]
        else:
            key["Code"] = self.kms.generate_mac(KeyId=name, Message=b"x", MacAlgorithm="HMAC_SHA_256")["Mac"]
        if state == "Disabled":
            self.kms.disable_key(KeyId=name)
        elif state == "PendingDeletion":
            self.kms.schedule_key_deletion(KeyId=name)
        elif state == "PendingImport":
            self.kms.delete_imported_key_material(KeyId=name)
        assert self.state(key) == state
        return key

    def algorithm(self):
        return "RSAES_OAEP_SHA_256" if self.kind == "rsa" else "SYMMETRIC_DEFAULT"

    def request(self, case, key, state):
        """The members of a request beside the key's id, or all of them where that is not `KeyId`."""
        name, algorithm = key["KeyId"], self.algorithm()
        if case == "ImportKeyMaterial":
            if self.kind == "external" and state != "PendingDeletion":
                return self.material(name)
            return {"KeyId": name, "ImportToken": b"x", "EncryptedKeyMaterial": b"x", "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
        others = {
            "ReEncryptFrom": {
                "CiphertextBlob": key["Blob"],
                "SourceKeyId": name,
                "SourceEncryptionAlgorithm": algorithm,
                "DestinationKeyId": self.target,
            },
            "ReEncryptTo": {"CiphertextBlob": self.blob, "DestinationKeyId": name, "DestinationEncryptionAlgorithm": algorithm},
            "CreateAlias": {"AliasName": f"alias/states-more-{name}", "TargetKeyId": name},
            "UpdateAliasTo": {"AliasName": f"alias/states-{self.kind}-other", "TargetKeyId": name},
            "UpdateAliasFrom": {"AliasName": key["Alias"], "TargetKeyId": self.other},
            "DeleteAlias": {"AliasName": key["Alias"]},
        }
        if case in others:
            return others[case]
        signing = {"Message": b"x", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
        coding = {"Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}
        more = {
            "Encrypt": {"Plaintext": b"x", "EncryptionAlgorithm": algorithm},
            "Decrypt": {"CiphertextBlob": key["Blob"], "EncryptionAlgorithm": algorithm},
            "GenerateDataKey": {"KeySpec": "AES_256"},
            "GenerateDataKeyWithoutPlaintext": {"KeySpec": "AES_256"},
            "GenerateDataKeyPair": {"KeyPairSpec": "ECC_NIST_P256"},
            "GenerateDataKeyPairWithoutPlaintext": {"KeyPairSpec": "ECC_NIST_P256"},
            "Sign": signing,
            "Verify": signing | {"Signature": b"x"},
            "GenerateMac": coding,
            "VerifyMac": coding | {"Mac": key["Code"]},
            "DeriveSharedSecret": {"KeyAgreementAlgorithm": "ECDH", "PublicKey": b"x"},
            "CreateGrant": {"GranteePrincipal": USER, "Operations": ["DescribeKey"]},
            "PutKeyPolicy": {"Policy": POLICY},
            "RetireGrant": {"GrantId": GRANT},
            "RevokeGrant": {"GrantId": GRANT},
            "TagResource": {"Tags": [{"TagKey": "a", "TagValue": "b"}]},
            "UntagResource": {"TagKeys": ["a"]},
            "UpdateKeyDescription": {"Description": "x"},
            "GetParametersForImport": {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"},
        }
        # RetireGrant takes an ARN alone.
        return {"KeyId": key["Arn"] if case == "RetireGrant" else name} | more.get(case, {})

    def ask(self, case, key, state):
        """`ok`, or the error and its message."""
        words = re.sub("(?<!^)(?=[A-Z])", "_", operation(case)).lower()
        request = self.request(case, key, state)
        try:
            getattr(self.kms, words)(**request)
        except ClientError as error:
            told = error.response["Error"]
            return f"{told['Code']}: {told.get('Message', '')}"
        return "ok"

    def undo(self, case, state):
        """A key whose aliases changed is not used again; the alias of the other key goes back."""
        if case in ("DeleteAlias", "UpdateAliasFrom", "CreateAlias"):
            del self.keys[state]
        if case == "UpdateAliasTo":
            self.kms.update_alias(AliasName=f"alias/states-{self.kind}-other", TargetKeyId=self.other)


def led(case, state, kind):
    """The state that a permitted operation leads to."""
    leads = {
        "EnableKey": "Enabled",
        "DisableKey": "Disabled",
        "ScheduleKeyDeletion": "PendingDeletion",
        "CancelKeyDeletion": "Disabled",
        "ImportKeyMaterial": "Enabled" if state == "PendingImport" else state,
        "DeleteImportedKeyMaterial": "PendingDeletion" if state == "PendingDeletion" else "PendingImport",
    }
    return leads.get(case, state)


@pytest.mark.parametrize("kind", KINDS)
def test_each_cell_of_the_table_is_what_a_client_is_told(kms, kind):
    bench, asked, wrong = Bench(kms, kind), 0, []
    for _, state, case, cell in [one for one in cells() if one[0] == kind]:
        key = bench.key(state)
        told = bench.ask(case, key, state).replace(key["Arn"], "ARN")
        expected = EXPECTED.get(cell, cell).replace("USAGE", bench.usage).replace("OPERATION", operation(case))
        is_right = told == expected
        after, leads = bench.state(key), led(case, state, kind) if told == "ok" else state
        if not is_right or after != leads:
            wrong.append(f"{case} in {state}: {told}, then {after}; expected {expected}, then {leads}")
        if told == "ok":
            bench.undo(case, state)
        asked += 1
    assert wrong == []
    # 44 rows: of a kind that is imported in four states, of the others in three.
    assert asked == 44 * (4 if kind == "external" else 3)


def test_the_table_has_every_operation_on_a_key_and_no_cell_twice(kms):
    found = cells()
    assert len(found) == 44 * 13 == len({one[:3] for one in found})
    assert {cell for *_, cell in found} == set(EXPECTED) | {"ok"}
    modelled = {name for name in kms.meta.service_model.operation_names if "CustomKeyStore" not in name}
    assert {operation(case) for _, _, case, _ in found} == modelled - KEYLESS - OF_OTHER_KEYS
