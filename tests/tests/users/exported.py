"""Looks into what `cachectl users export` wrote, by what others know of ElastiCache and of Terraform.

Arguments: the input of ElastiCache's API as JSON, the Terraform. Prints each fault on a line of standard error and ends
with 1; without any it prints what was looked at.
"""

import json
import re
import sys

import boto3
import botocore.session
import hcl2
from botocore.validate import ParamValidator
from moto import mock_aws

FAULTS = []

# The arguments of the provider's resources that are not optional, and those that are: the provider's documentation of
# aws_elasticache_user and aws_elasticache_user_group.
USER = ({"user_id", "user_name", "engine", "access_string"}, {"authentication_mode", "tags"})
GROUP = ({"engine", "user_group_id"}, {"user_ids", "tags"})
MODE = ({"type"}, {"passwords"})


def fault(where, text):
    FAULTS.append(f"{where}: {text}")


def walk(shape, value, where):
    """What ParamValidator leaves to the service: the values of an enumeration, and patterns."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in value:
                walk(member, value[name], f"{where}.{name}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            walk(shape.member, item, f"{where}[{index}]")
    elif shape.type_name == "string":
        allowed, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
        if allowed and value not in allowed:
            fault(where, f"{value!r} is not one of {allowed}")
        if pattern and not re.fullmatch(pattern, value):
            fault(where, f"{value!r} is not of the form {pattern}")


def with_passwords(given, sources):
    """As whoever calls the API completes an input: with the passwords, which the export does not hold."""
    given = json.loads(json.dumps(given))
    if given["AuthenticationMode"]["Type"] == "password":
        found = sources.get(given["UserId"])
        if not found or len(found) > 2:
            fault(given["UserId"], f"has {found} for passwords, and needs one or two")
        given["AuthenticationMode"]["Passwords"] = [f"Zk3-vv91!qLm0-xB{number}" for number in range(len(found or []))]
    elif given["UserId"] in sources:
        fault(given["UserId"], "has passwords and does not log in by them")
    return given


def inputs(plan):
    """The input of each call, as the model of the API wants it."""
    model = botocore.session.get_session().get_service_model("elasticache")
    sources = plan["PasswordsFrom"]
    calls = [("CreateUser", with_passwords(user, sources)) for user in plan["CreateUser"]]
    calls += [("ModifyUser", with_passwords(user, sources)) for user in plan["ModifyUser"]]
    calls.append(("CreateUserGroup", plan["CreateUserGroup"]))
    for operation, given in calls:
        shape = model.operation_model(operation).input_shape
        where = f"{operation} {given.get('UserId', given.get('UserGroupId'))}"
        report = ParamValidator().validate(given, shape)
        if report.has_errors():
            fault(where, report.generate_report().replace("\n", " "))
        else:
            walk(shape, given, where)
    return calls


def rules(plan):
    """What the API's documentation says beyond its model."""
    ids = [user["UserId"] for user in plan["CreateUser"]]
    group = plan["CreateUserGroup"]
    if len(set(ids)) != len(ids) or len({user["UserName"] for user in plan["CreateUser"]}) != len(ids):
        fault("CreateUser", "an id or a name comes twice")
    if sorted(group["UserIds"]) != sorted(ids):
        fault("CreateUserGroup", "its users are not those that are created")
    if group["Engine"] == "redis" and [u["UserName"] for u in plan["CreateUser"]].count("default") != 1:
        fault("CreateUserGroup", "a group of redis needs one user named default")
    for user in plan["CreateUser"]:
        if user["Engine"] != group["Engine"]:
            fault(user["UserId"], "its engine is not that of the group")
        if user["AuthenticationMode"]["Type"] == "iam" and user["UserId"] != user["UserName"]:
            fault(user["UserId"], "id and name of an IAM user have to be one")
        if len(user["UserId"]) > 40:
            fault(user["UserId"], "an id has at most 40 characters")
    created = {user["UserId"]: user for user in plan["CreateUser"]}
    for user in plan["ModifyUser"]:
        same = created.get(user["UserId"], {})
        if any(same.get(name) != user.get(name) for name in ("AccessString", "AuthenticationMode")):
            fault(f"ModifyUser {user['UserId']}", "says something else than CreateUser")


def applied(calls):
    """Creates the users at a stand-in for ElastiCache, and reads them back."""
    created = [given for operation, given in calls if operation == "CreateUser"]
    with mock_aws():
        secrets = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        client = boto3.client("elasticache", region_name="eu-central-1", **secrets)
        for given in created:
            try:
                client.create_user(**given)
            except Exception as error:  # Whatever it is, it is a fault of the input.
                fault(f"CreateUser {given['UserId']}", f"is refused: {error}")
        told = {user["UserId"]: user for user in client.describe_users()["Users"]}
    for given in created:
        found = told.get(given["UserId"])
        if found is None:
            fault(given["UserId"], "is not there after it was created")
            continue
        for name in ("UserName", "Engine", "AccessString"):
            if found[name] != given.get(name):
                fault(given["UserId"], f"{name} is {found[name]!r}, and was given as {given.get(name)!r}")
        kind, count = found["Authentication"]["Type"], found["Authentication"].get("PasswordCount", 0)
        wanted = given["AuthenticationMode"]
        if kind.removesuffix("-required") != wanted["Type"].removesuffix("-required"):
            fault(given["UserId"], f"logs in by {kind}")
        if count != len(wanted.get("Passwords", [])):
            fault(given["UserId"], f"has {count} passwords")
    return len(created)


def plain(text):
    """The text between the quotes of a literal that holds no template."""
    if not (isinstance(text, str) and len(text) > 1 and text[0] == text[-1] == '"'):
        fault("terraform", f"{text!r} is no text")
        return text
    inner = text[1:-1]
    if re.search(r"(?<!\$)\$\{|(?<!%)%\{", inner):
        fault("terraform", f"{text!r} holds a template")
    inner = inner.replace("$${", "${").replace("%%{", "%{")
    return re.sub(r"\\(.)", r"\1", inner)


def arguments(block, names, where):
    needed, optional = names
    given = {name for name in block if not name.startswith("__")}
    if needed - given or given - needed - optional:
        fault(where, f"its arguments are {sorted(given)}")


def terraform(text, plan):
    """The resources, which have to say the same as the inputs of the API."""
    parsed = hcl2.loads(text)
    users, groups = {}, []
    for resource in parsed["resource"]:
        ((kind, labelled),) = ((plain(kind), value) for kind, value in resource.items() if not kind.startswith("__"))
        ((label, block),) = ((plain(label), value) for label, value in labelled.items() if not label.startswith("__"))
        if kind == "aws_elasticache_user":
            if label in users:
                fault("terraform", f"the resource {label} comes twice")
            arguments(block, USER, label)
            users[label] = block
        elif kind == "aws_elasticache_user_group":
            arguments(block, GROUP, label)
            groups.append(block)
        else:
            fault("terraform", f"{kind} is not expected")
    variables = {}
    for variable in parsed.get("variable", []):
        for name, block in variable.items():
            variables[plain(name)] = block
    said = {}
    for label, block in users.items():
        (mode,) = block.get("authentication_mode", [{}])
        arguments(mode, MODE, f"{label}.authentication_mode")
        kind, passwords = plain(mode.get("type")), mode.get("passwords")
        if (kind == "password") != (passwords is not None):
            fault(label, f"is of type {kind} with passwords {passwords}")
        if passwords is not None:
            name = passwords.removeprefix("${var.").removesuffix("}")
            if variables.get(name, {}).get("sensitive") is not True:
                fault(label, f"{passwords} is no sensitive variable")
        said[plain(block.get("user_id"))] = {
            "UserId": plain(block.get("user_id")),
            "UserName": plain(block.get("user_name")),
            "Engine": plain(block.get("engine")),
            "AccessString": plain(block.get("access_string")),
            "AuthenticationMode": {"Type": kind},
        }
    wanted = {user["UserId"]: user for user in plan["CreateUser"]}
    for user in sorted(said.keys() | wanted.keys()):
        if said.get(user) != wanted.get(user):
            fault(user, f"terraform says {said.get(user)}, the API gets {wanted.get(user)}")
    if len(groups) != 1:
        fault("terraform", f"there are {len(groups)} groups")
    for block in groups:
        group = plan["CreateUserGroup"]
        if (plain(block.get("engine")), plain(block.get("user_group_id"))) != (group["Engine"], group["UserGroupId"]):
            fault("terraform", "the group is another one")
        referred = [re.fullmatch(r"\$\{aws_elasticache_user\.(\w+)\.user_id\}", item) for item in block.get("user_ids", [])]
        ids = [plain(users[found[1]]["user_id"]) if found and found[1] in users else None for found in referred]
        if ids != group["UserIds"]:
            fault("terraform", f"the group's users are {ids}, the API's {group['UserIds']}")
    return len(said)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    with open(sys.argv[2], encoding="utf-8") as file:
        text = file.read()
    calls = inputs(plan)
    rules(plan)
    created = applied(calls)
    resources = terraform(text, plan)
    for line in FAULTS:
        print(line, file=sys.stderr)
    print(f"inputs {len(calls)}, created {created}, resources {resources}")
    sys.exit(1 if FAULTS else 0)


main()
