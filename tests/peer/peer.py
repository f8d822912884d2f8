"""Another implementation of what keys of the service do: Python's `cryptography`, over OpenSSL. One JSON line in, one out."""

import base64
import json
import os
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

CURVES = {
    "ECC_NIST_P256": ec.SECP256R1,
    "ECC_NIST_P384": ec.SECP384R1,
    "ECC_NIST_P521": ec.SECP521R1,
    "ECC_SECG_P256K1": ec.SECP256K1,
}


def bits(name):
    return int(name.rsplit("_", 1)[1])


def hash_of(algorithm):
    return {"1": hashes.SHA1, "224": hashes.SHA224, "256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}[
        algorithm.rsplit("_", 1)[1]
    ]()


def oaep(algorithm):
    chosen = hash_of(algorithm)
    return padding.OAEP(mgf=padding.MGF1(chosen), algorithm=chosen, label=None)


def arguments(algorithm, digest):
    chosen = hash_of(algorithm)
    signed = Prehashed(chosen) if digest else chosen
    if algorithm.startswith("ED25519"):
        return []
    if algorithm.startswith("ECDSA"):
        return [ec.ECDSA(signed)]
    if "PSS" in algorithm:
        return [padding.PSS(mgf=padding.MGF1(chosen), salt_length=chosen.digest_size), signed]
    return [padding.PKCS1v15(), signed]


def make(spec):
    if spec.startswith("RSA"):
        return rsa.generate_private_key(65537, bits(spec))
    if spec == "ECC_NIST_EDWARDS25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(CURVES[spec]())


def pkcs8(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())


def spki(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def do(job):
    get = lambda name: base64.b64decode(job[name])
    match job["do"]:
        case "make":
            key = make(job["spec"])
            return {"private": pkcs8(key), "public": spki(key)}
        case "public":
            return {"public": spki(serialization.load_der_private_key(get("private"), None))}
        case "sign":
            key = serialization.load_der_private_key(get("private"), None)
            return {"signature": key.sign(get("message"), *arguments(job["algorithm"], job["digest"]))}
        case "verify":
            key = serialization.load_der_public_key(get("public"))
            try:
                key.verify(get("signature"), get("message"), *arguments(job["algorithm"], job["digest"]))
            except InvalidSignature:
                return {"valid": False}
            return {"valid": True}
        case "hash":
            digest = hashes.Hash(hash_of(job["algorithm"]))
            digest.update(get("message"))
            return {"digest": digest.finalize()}
        case "encrypt":
            key = serialization.load_der_public_key(get("public"))
            return {"ciphertext": key.encrypt(get("plaintext"), oaep(job["algorithm"]))}
        case "decrypt":
            key = serialization.load_der_private_key(get("private"), None)
            return {"plaintext": key.decrypt(get("ciphertext"), oaep(job["algorithm"]))}
        case "agree":
            key = serialization.load_der_private_key(get("private"), None)
            return {"secret": key.exchange(ec.ECDH(), serialization.load_der_public_key(get("public")))}
        case "hmac":
            code = hmac.HMAC(get("key"), hash_of(job["algorithm"]))
            code.update(get("message"))
            return {"mac": code.finalize()}
        case "wrap":
            key = serialization.load_der_public_key(get("public"))
            if not job["algorithm"].startswith("RSA_AES_KEY_WRAP"):
                return {"wrapped": key.encrypt(get("material"), oaep(job["algorithm"]))}
            wrapping = os.urandom(job.get("bytes", 32))
            material = aes_key_wrap_with_padding(wrapping, get("material"))
            return {"wrapped": key.encrypt(wrapping, oaep(job["algorithm"])) + material}
        case other:
            raise ValueError(other)


for line in sys.stdin:
    try:
        answer = do(json.loads(line))
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    encoded = {name: base64.b64encode(it).decode() if isinstance(it, bytes) else it for name, it in answer.items()}
    print(json.dumps(encoded), flush=True)
