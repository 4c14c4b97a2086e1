"""Holds the Terraform of `deploy/terraform` against the schema of the AWS provider and against itself.

`terraform validate` needs the provider, which is not to be had here. Its schema is: the bindings that were generated from it
name every resource with its arguments, nested blocks and which are required.

The inputs and outputs of modules from the registry are those that registry_modules.json beside this file names.

Prints one JSON object: what is wrong, and the facts that the test compares with the product.
"""

import glob
import json
import os
import re
import sys
import tarfile

import hcl2

META = {"count", "for_each", "provider", "depends_on", "lifecycle", "provisioner", "connection", "timeouts"}
PROVIDER = "@cdktf/provider-aws."


def unquote(text):
    return text[1:-1] if text.startswith('"') else text


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def canonical(name):
    # The bindings change case, so digits and capitals cannot be told apart exactly: names are compared without underscores.
    return name.replace("_", "").lower()


def load(folder):
    archive = glob.glob(os.path.join(folder, "**", "_jsii", "*.tgz"), recursive=True)[0]
    with tarfile.open(archive) as tar:
        return json.load(tar.extractfile("package/.jsii"))["types"]


class Check:
    def __init__(self, types):
        self.types = types
        self.configs = {canonical(name.rsplit(".", 1)[1]): name for name in types if name.endswith("Config")}
        self.wrong = []

    def properties(self, name):
        found = {}
        while name and name.startswith(PROVIDER):
            kind = self.types[name]
            for one in kind.get("properties", []):
                found.setdefault(canonical(one["name"]), one)
            bases = kind.get("interfaces", [])
            name = next((base for base in bases if base.startswith(PROVIDER)), None)
        return found

    def nested(self, kind):
        text = json.dumps(kind)
        names = [name for name in re.findall(r'"fqn": "([^"]+)"', text) if name.startswith(PROVIDER)]
        return names[0] if names else None

    def block(self, where, name, body):
        known = self.properties(name)
        set_here = set()
        for key, value in body.items():
            if key.startswith("__") or (key in META and canonical(key) not in known):
                continue
            if key == "dynamic":
                for dynamic in value:
                    for label, inner in dynamic.items():
                        self.argument(where, known, unquote(label), [inner["content"][0]])
                        set_here.add(canonical(unquote(label)))
                continue
            self.argument(where, known, key, value)
            set_here.add(canonical(key))
        for key, one in known.items():
            if not one.get("optional") and key not in set_here:
                self.wrong.append(f"{where}: the required argument {snake(one['name'])} is missing")

    def argument(self, where, known, key, value):
        one = known.get(canonical(key))
        if one is None:
            self.wrong.append(f"{where}: the provider knows no argument {key}")
            return
        inner = self.nested(one["type"])
        if inner and isinstance(value, list) and value and isinstance(value[0], dict):
            for block in value:
                self.block(f"{where}.{key}", inner, block)

    def resource(self, where, kind, body, prefix):
        config = self.configs.get(prefix + canonical(kind.removeprefix("aws_")) + "config")
        if config is None:
            self.wrong.append(f"{where}: the provider knows no {kind}")
            return
        self.block(where, config, body)


def files(folder):
    for root, _, names in os.walk(folder):
        for name in sorted(names):
            if name.endswith(".tf"):
                yield root, os.path.join(root, name)


def main(folder, packages):
    folder = os.path.realpath(folder)
    check = Check(load(packages))
    modules = {}
    for root, path in files(folder):
        with open(path) as file:
            modules.setdefault(root, []).append((os.path.relpath(path, folder), file.read()))
    facts = {"actions": [], "settings": [], "resources": 0, "from_registry": 0}
    variables = {}
    outputs = {}
    with open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "registry_modules.json")) as file:
        registry = json.load(file)
    for source, module in registry.items():
        variables[source] = {name: name in module["optional"] for name in module["required"] + module["optional"]}
        outputs[source] = set(module["outputs"])
    for root, texts in modules.items():
        variables[root] = {}
        outputs[root] = set()
        for where, text in texts:
            tree = hcl2.loads(text)
            for one in tree.get("variable", []):
                for name, body in one.items():
                    variables[root][unquote(name)] = "default" in body
            for one in tree.get("output", []):
                outputs[root] |= {unquote(name) for name in one}
    for root, texts in modules.items():
        declared = {"local": set(), "module": {}, "resource": set()}
        for where, text in texts:
            tree = hcl2.loads(text)
            for one in tree.get("locals", []):
                declared["local"] |= {key for key in one if not key.startswith("__")}
            for one in tree.get("module", []):
                for name, body in one.items():
                    source = unquote(body["source"])
                    target = source if source in registry else os.path.normpath(os.path.join(root, source))
                    declared["module"][unquote(name)] = target
                    if target not in variables:
                        check.wrong.append(f"{where}: no module at {target}")
                        continue
                    if source in registry:
                        facts["from_registry"] += 1
                        version = registry[source]["version"]
                        wanted = "~> " + version.rpartition(".")[0]
                        if unquote(body.get("version", "")) != wanted:
                            check.wrong.append(f"{where}: the version of {source} has to be {wanted}: {version} was looked at")
                    given = {key for key in body if not key.startswith("__")} - {"source", "version"} - META
                    for key in given - set(variables[target]):
                        check.wrong.append(f"{where}: module {name} has no variable {key}")
                    for key, has_default in variables[target].items():
                        if not has_default and key not in given:
                            check.wrong.append(f"{where}: module {name} needs the variable {key}")
            for kind, prefix in (("resource", ""), ("data", "dataaws")):
                for one in tree.get(kind, []):
                    for resource, named in one.items():
                        for name, body in named.items():
                            facts["resources"] += 1
                            declared["resource"].add((unquote(resource), unquote(name)))
                            check.resource(f"{where}: {resource}.{name}", unquote(resource), body, prefix)
        for where, text in texts:
            code = re.sub(r"#.*", "", text)
            for name in re.findall(r"\bvar\.(\w+)", code):
                if name not in variables[root]:
                    check.wrong.append(f"{where}: no variable {name}")
            for name in re.findall(r"\blocal\.(\w+)", code):
                if name not in declared["local"]:
                    check.wrong.append(f"{where}: no local value {name}")
            for name, output in re.findall(r"\bmodule\.(\w+)\.(\w+)", code):
                if name not in declared["module"]:
                    check.wrong.append(f"{where}: no module {name}")
                elif output not in outputs.get(declared["module"][name], {output}):
                    check.wrong.append(f"{where}: module {name} has no output {output}")
            for kind, name in re.findall(r"\b(aws_\w+)\.(\w+)", code):
                if (kind, name) not in declared["resource"]:
                    check.wrong.append(f"{where}: no resource {kind}.{name}")
            facts["settings"] += re.findall(r"\b(CACHE_[A-Z0-9_]+)\b", code)
            facts["actions"] += re.findall(r'"([a-z]+:[A-Z][A-Za-z]+)"', code)
    facts["wrong"] = check.wrong
    facts["settings"] = sorted(set(facts["settings"]))
    facts["actions"] = sorted(set(facts["actions"]))
    json.dump(facts, sys.stdout)


main(sys.argv[1], sys.argv[2])
