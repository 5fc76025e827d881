"""Parts of check.sh: what unit, container file and manifests tell the daemon is what it takes, and it starts with that.

    check_flags.py known CLINO DEPLOY     every flag, key and variable is one of `clino serve --help`
    check_flags.py starts CLINO DEPLOY    the daemon starts with each of them, in folders of its own
"""

import json
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from pathlib import Path

import yaml

#: Folders that systemd makes, by the variables that tell them.
FOLDERS = ("RuntimeDirectory", "StateDirectory", "CacheDirectory", "LogsDirectory", "ConfigurationDirectory")


def variable(directive: str) -> str:
    """RuntimeDirectory is told as RUNTIME_DIRECTORY."""
    return directive.removesuffix("Directory").upper() + "_DIRECTORY"


class Deployment:
    """The files, and what of them is for the daemon."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.unit = (here / "systemd/clino.service").read_text()
        self.settings = (here / "systemd/clino.toml").read_text()
        self.container = (here / "Containerfile").read_text()
        self.manifests = (here / "kubernetes/clino.yaml").read_text()

    def directive(self, name: str) -> list[str]:
        """Values of a directive of the unit."""
        return re.findall(rf"^{name}=(.*)$", self.unit, re.M)

    def unit_words(self) -> list[str]:
        """The unit's command line behind `serve`."""
        (line,) = self.directive("ExecStart")
        return shlex.split(line)[2:]

    def instruction(self, name: str) -> list[str]:
        """The words of an instruction of the container file that is a list in JSON."""
        joined = self.container.replace("\\\n", "")
        (words,) = re.findall(rf"^{name} .*?(\[.*\])$", joined, re.M)
        return json.loads(words)

    def documents(self) -> list[dict]:
        """The manifests."""
        return [document for document in yaml.safe_load_all(self.manifests) if document]

    def of_kind(self, kind: str) -> dict:
        """The only manifest of a kind."""
        (found,) = [document for document in self.documents() if document["kind"] == kind]
        return found

    def map(self) -> str:
        """The settings in the ConfigMap."""
        return self.of_kind("ConfigMap")["data"]["clino.toml"]

    def args(self) -> list[str]:
        """What the pod's container is told."""
        (container,) = self.of_kind("StatefulSet")["spec"]["template"]["spec"]["containers"]
        return container["args"]


def keys(toml: str) -> set[str]:
    """Keys of settings, those that are commented out included."""
    found = set(re.findall(r"^#? ?([a-z_]+) = ", toml, re.M))
    assert set(tomllib.loads(toml)) <= found
    return found


def flags_of(words: list[str]) -> set[str]:
    return {word.split("=")[0] for word in words if word.startswith("--")}


def known(clino: str, deployment: Deployment) -> None:
    """Whatever the daemon is told anywhere, it knows."""
    said = subprocess.run([clino, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    flags = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", said, re.M))
    assert len(flags) > 20, flags
    as_key = {flag.removeprefix("--").replace("-", "_") for flag in flags}
    texts = {path.name: path.read_text() for path in [deployment.here / "../README.md",
                                                      *(deployment.here / "../docs").glob("*.md")]}
    told = {"clino.service": flags_of(deployment.unit_words()),
            "Containerfile": flags_of(deployment.instruction("CMD")),
            # The comment, without what is for podman: behind the image's name.
            "Containerfile's comment": set(re.findall(r"--[a-z-]+", deployment.container.split(" clino --listen")[1].split("FROM")[0])),
            "clino.yaml": flags_of(deployment.args())}
    for name, text in texts.items():
        commands = re.findall(r"\bclino serve((?:[^`\n\\]|\\\n|\\)*)", text)
        told[name] = {flag for command in commands for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", command)}
    for name, found in told.items():
        assert found <= flags, f"{name}: clino serve does not know {sorted(found - flags)}"
    settings = {"clino.toml": keys(deployment.settings), "the ConfigMap": keys(deployment.map())}
    variables = {name.lower() for name in re.findall(r"\bCLINO_([A-Z_]+)=", deployment.unit)}
    settings["variables of the unit"] = variables - {"addr"}
    for name, found in settings.items():
        assert found and found <= as_key, f"{name}: clino serve does not know {sorted(found - as_key)}"
    count = sum(map(len, [*told.values(), *settings.values()]))
    print(f"proof: unit, container file, manifests and docs tell `clino serve` {count} flags and keys, all of which it knows")
    coherent(deployment)


def coherent(deployment: Deployment) -> None:
    """Folders, credentials and exit codes of the unit; files that the container file copies."""
    words = " ".join(deployment.unit_words())
    given = {variable(name) for name in FOLDERS if deployment.directive(name)} | {"CREDENTIALS_DIRECTORY"}
    used = set(re.findall(r"\$\{(\w+)\}", words))
    assert used <= given, f"clino.service: nothing gives {sorted(used - given)}"
    credentials = {line.split(":")[0] for line in deployment.directive("LoadCredential")}
    wanted = set(re.findall(r"\$\{CREDENTIALS_DIRECTORY\}/(\S+)", words))
    assert wanted == credentials, f"clino.service: credentials {credentials}, used {wanted}"
    codes = (deployment.here / "../src/cli/mod.rs").read_text()
    final = {code for name in ("USAGE", "DATA") for code in re.findall(rf"pub const {name}: u8 = (\d+);", codes)}
    assert set(deployment.directive("RestartPreventExitStatus")[0].split()) == final, final
    root = deployment.here / ".."
    copied = [line.split()[:-1] for line in re.findall(r"^COPY (?!--from)(.*)$", deployment.container, re.M)]
    for name in [name for names in copied for name in names]:
        assert (root / name).exists(), f"Containerfile: there is no {name} to copy"
    (built,) = re.findall(r"^COPY --from=build /src/target/release/(\w+) ", deployment.container, re.M)
    assert f"--bin {built} " in deployment.container
    print(f"proof: every folder and credential of the unit is given, exit codes {'/'.join(sorted(final))} are final, and "
          "what the container file copies is there")


class Running:
    """A daemon that was started in the way of a deployment."""

    def __init__(self, clino: str, words: list[str], folder: Path) -> None:
        self.errors = folder / "stderr"
        self.process = subprocess.Popen([clino, "serve", *words], stdout=subprocess.PIPE, text=True,
                                        stderr=self.errors.open("w"), env={})
        assert self.process.stdout is not None
        self.addresses = self.process.stdout.readline().split()[1:]
        assert self.addresses, self.errors.read_text()

    def metrics(self) -> str:
        """HOST:PORT of the metrics."""
        (found,) = [a.removeprefix("metrics=http://") for a in self.addresses if a.startswith("metrics=")]
        return found

    def end(self) -> None:
        """Ready, and ends well."""
        with urllib.request.urlopen(f"http://{self.metrics()}/livez", timeout=10) as answer:
            assert answer.status == 200
        self.process.terminate()
        code = self.process.wait(60)
        assert code == 0, (code, self.errors.read_text())


def as_unit(clino: str, deployment: Deployment, folder: Path) -> None:
    """With the unit's command line, in folders as systemd makes them."""
    places = {variable(name): folder / name for name in FOLDERS} | {"CREDENTIALS_DIRECTORY": folder / "credentials"}
    for place in places.values():
        place.mkdir()
    (places["CONFIGURATION_DIRECTORY"] / "clino.toml").write_text(deployment.settings.replace(":9464", ":0"))
    # As the first lines of the unit say to make it: nobody but root may do anything yet.
    (places["CREDENTIALS_DIRECTORY"] / "tokens.toml").touch(0o400)
    line = " ".join(deployment.unit_words())
    for name, place in places.items():
        line = line.replace(f"${{{name}}}", str(place))
    running = Running(clino, line.split(), folder)
    socket = places["RUNTIME_DIRECTORY"] / "clino.sock"
    # The folder is the group's; who they are is asked at the socket.
    assert running.addresses[0] == f"unix://{socket}" and len(running.addresses) == 2, running.addresses
    assert socket.stat().st_mode & 0o777 == 0o666
    history(places["STATE_DIRECTORY"])
    assert (places["LOGS_DIRECTORY"] / "audit.jsonl").exists()
    running.end()


def as_container(clino: str, deployment: Deployment, folder: Path) -> None:
    """With the container's command line, in folders as they are mounted; its health check finds it healthy."""
    words = [word.replace("/run/clino", f"{folder}/run").replace("/var/lib/clino", f"{folder}/data")
             .replace(":9464", ":0") for word in deployment.instruction("CMD")]
    for name in ("run", "data"):
        (folder / name).mkdir()
    running = Running(clino, words, folder)
    assert running.addresses[0] == f"unix://{folder}/run/clino.sock", running.addresses
    history(folder / "data/data")
    port = running.metrics().split(":")[1]
    check = [word.replace("/9464", f"/{port}") for word in deployment.instruction("HEALTHCHECK")]
    until(lambda: subprocess.run(check, check=False).returncode == 0, "the health check")
    running.end()


def as_pod(clino: str, deployment: Deployment, folder: Path) -> None:
    """With the settings of the ConfigMap, in folders as the pod's first container makes them."""
    settings = deployment.map().replace("/var/lib/clino", str(folder)).replace("0.0.0.0:7411", "127.0.0.1:0")
    (folder / "clino.toml").write_text(settings.replace("0.0.0.0:9464", "127.0.0.1:0"))
    for name in ("spool", "data"):
        (folder / name).mkdir()
    running = Running(clino, [word.replace("/etc/clino", str(folder)) for word in deployment.args()], folder)
    history(folder / "data")
    running.end()


def history(folder: Path) -> None:
    assert list(folder.glob("*.db")), f"no history in {folder}"


def until(found, what: str) -> None:
    import time

    end = time.monotonic() + 30
    while not found():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def starts(clino: str, deployment: Deployment) -> None:
    """The daemon starts in each way, keeps a history there, is healthy and ends well."""
    for way in (as_unit, as_container, as_pod):
        with tempfile.TemporaryDirectory(prefix="clino-") as folder:
            way(clino, deployment, Path(folder))
    print("proof: the daemon starts with the words of unit, container file and manifests, with a history, and ends well")


if __name__ == "__main__":
    command, clino, here = sys.argv[1:]
    {"known": known, "starts": starts}[command](clino, Deployment(Path(here)))
