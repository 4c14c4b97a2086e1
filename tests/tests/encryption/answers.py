"""Answers questions about keysets and ciphertexts with the real Tink, a line of JSON each.

A question names a keyset in base64: `keyset`, its `form` (json, binary, encrypted-json, encrypted-binary), and for an
encrypted one the `kek`: a keyset in clear as JSON whose AEAD encrypts it, or the URI of a KMS key. The answer is
{"ok": ...} or {"error": ...}. Secrets and KMS keys are those of the AWS that the environment names.
"""

import base64
import json
import sys

import boto3
import tink
from tink import aead, cleartext_keyset_handle, secret_key_access
from tink import json_proto_keyset_format as as_json
from tink import proto_keyset_format as as_binary
from tink.integration import awskms
from tink.proto import tink_pb2

NO_ASSOCIATED_DATA = b""
TEMPLATES = {
    "AES256_GCM": aead.aead_key_templates.AES256_GCM,
    "AES128_GCM": aead.aead_key_templates.AES128_GCM,
    "AES256_GCM_RAW": aead.aead_key_templates.AES256_GCM_RAW,
}


def kek(question):
    if question["kek"].startswith("aws-kms://"):
        client = awskms.new_client(boto3_client=boto3.client("kms"))
        return client.get_aead(question["kek"])
    return as_json.parse(question["kek"], secret_key_access.TOKEN).primitive(aead.Aead)


def handle(question):
    stored = base64.b64decode(question["keyset"])
    form = question["form"]
    if form == "json":
        return as_json.parse(stored.decode(), secret_key_access.TOKEN)
    if form == "binary":
        return as_binary.parse(stored, secret_key_access.TOKEN)
    if form == "encrypted-json":
        return as_json.parse_encrypted(stored.decode(), kek(question), NO_ASSOCIATED_DATA)
    if form == "encrypted-binary":
        return as_binary.parse_encrypted(stored, kek(question), NO_ASSOCIATED_DATA)
    raise ValueError(form)


def serialized(keyset, question):
    form = question["form"]
    if form == "json":
        return as_json.serialize(keyset, secret_key_access.TOKEN).encode()
    if form == "binary":
        return as_binary.serialize(keyset, secret_key_access.TOKEN)
    if form == "encrypted-json":
        return as_json.serialize_encrypted(keyset, kek(question), NO_ASSOCIATED_DATA).encode()
    if form == "encrypted-binary":
        return as_binary.serialize_encrypted(keyset, kek(question), NO_ASSOCIATED_DATA)
    raise ValueError(form)


def seal(question):
    primitive = handle(question).primitive(aead.Aead)
    text, name = base64.b64decode(question["text"]), base64.b64decode(question["name"])
    return base64.b64encode(primitive.encrypt(text, name)).decode()


def open_(question):
    primitive = handle(question).primitive(aead.Aead)
    sealed, name = base64.b64decode(question["text"]), base64.b64decode(question["name"])
    return base64.b64encode(primitive.decrypt(sealed, name)).decode()


def make(question):
    """A new keyset of one key, and of disabled and enabled ones after it."""
    keyset = tink_pb2.Keyset()
    for index, template in enumerate(question["templates"]):
        one = cleartext_keyset_handle.read(
            tink.BinaryKeysetReader(
                as_binary.serialize(tink.new_keyset_handle(TEMPLATES[template]), secret_key_access.TOKEN)
            )
        )
        binary = as_binary.serialize(one, secret_key_access.TOKEN)
        keyset.MergeFrom(tink_pb2.Keyset.FromString(binary))
        if index == 0:
            primary = keyset.primary_key_id
    keyset.primary_key_id = primary
    made = as_binary.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return base64.b64encode(serialized(made, question)).decode()


def info(question):
    """What the keyset holds: the primary's id, and of each key its id, status and prefix."""
    shown = handle(question).keyset_info()
    keys = [
        [
            key.key_id,
            tink_pb2.KeyStatusType.Name(key.status).lower(),
            tink_pb2.OutputPrefixType.Name(key.output_prefix_type),
        ]
        for key in shown.key_info
    ]
    return {"primary": shown.primary_key_id, "keys": keys}


def kms_key(question):
    """The URI of a new KMS key."""
    return "aws-kms://" + boto3.client("kms").create_key()["KeyMetadata"]["Arn"]


def secret(question):
    """What is in a secret."""
    value = boto3.client("secretsmanager").get_secret_value(
        # The default of AWS; one emulator answers the first version without it.
        SecretId=question["secret"], VersionStage="AWSCURRENT"
    )
    stored = value.get("SecretBinary") or value["SecretString"].encode()
    return base64.b64encode(stored).decode()


QUESTIONS = {"seal": seal, "open": open_, "make": make, "info": info, "kms_key": kms_key, "secret": secret}

aead.register()
for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = {"ok": QUESTIONS[question["ask"]](question)}
    except Exception as error:  # Tink lets other errors than its own through.
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
