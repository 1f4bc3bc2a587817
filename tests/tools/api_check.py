"""Calls every operation of a running `authsome up` as schemathesis makes it up from the API's own
description, as an owner who is an admin of the platform, and checks the description itself.

    python api_check.py DATA_DIR [EXAMPLES]

DATA_DIR is that of `authsome up`, EXAMPLES how many requests are made up for each operation besides
those that the description's bounds give (10). The same description is called the same way each time.
The platform must let it call as often as it likes, and its token live as long (see
tests/tests/e2e/api_description.rs). Exit code 1 if there is any finding.

Which checks are off, and why, is in schemathesis.toml.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
PASSWORD = "correct horse battery"

# What ends sessions is called by itself, with a sign-in of its own.
SESSIONS = {
    "logout": "ends the caller's session",
    "refresh": "a token that is sent twice ends its session",
    "revoke_session": "ends a session, maybe the caller's",
    "revoke_other_sessions": "ends those of the other calls",
    "change_password": "the same",
    "change_email": "the account would have another address at the next sign-in",
}

# What ends what the other calls are about is called with made-up ids.
ENDING = {
    "delete_workspace": "the other calls are about this very workspace",
    "delete_application": "the same of the application",
    "remove_member": "the same of the member",
}


class Api:
    def __init__(self, base):
        self.base = base + "/control/v1"
        self.token = None

    def post(self, path, body):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(
            self.base + path, json.dumps(body).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def description(self):
        with urllib.request.urlopen(self.base + "/openapi.json", timeout=60) as answer:
            return answer.read()


def main(data_dir, examples):
    quickstart = json.loads((Path(data_dir) / "quickstart.json").read_text())
    api = Api(quickstart["controlUrl"])
    login = {"email": quickstart["email"], "password": quickstart["password"]}
    api.token = api.post("/auth/login", login)["token"]
    known = scene(api)
    failed = []

    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(api.description())
        file.flush()
        checked = subprocess.run([sys.executable, HERE / "check_openapi.py", file.name])
        if checked.returncode != 0:
            failed.append("description")

    def only(*operations):
        return [argument for id in operations for argument in ("--include-operation-id", id)]

    def but(*operations):
        return [argument for id in operations for argument in ("--exclude-operation-id", id)]

    every = ["--phases", "examples,coverage,fuzzing", "--max-examples", examples]
    runs = [
        ("each operation", "schemathesis.toml", every + but(*ENDING, *SESSIONS)),
        ("one after the other", "schemathesis-anything.toml",
         ["--phases", "stateful", "--max-examples", examples, *but(*SESSIONS)]),
        ("what ends something", "schemathesis-anything.toml", every + only(*ENDING, *SESSIONS)),
    ]
    for name, config, arguments in runs:
        print(f"== {name}", flush=True)
        token = Api(quickstart["controlUrl"]).post("/auth/login", login)["token"]
        command = [Path(sys.executable).parent / "schemathesis", "--config-file", HERE / config,
                   "run", api.base + "/openapi.json", "--continue-on-failure", *arguments]
        done = subprocess.run(command, env={**os.environ, **known, "API_TOKEN": token},
                              cwd=tempfile.gettempdir())
        if done.returncode != 0:
            failed.append(name)
    print(json.dumps({"failed": failed}))
    return 1 if failed else 0


def scene(api):
    """What stands in the paths, made for this run."""
    workspace = api.post("/workspaces", {"name": "Checked", "plan": "enterprise"})["id"]
    application = api.post(f"/workspaces/{workspace}/applications", {"name": "Checked"})["id"]
    mark = uuid.uuid4().hex
    account = {"email": f"{mark}@example.com", "password": PASSWORD, "name": "Checked"}
    user = api.post("/auth/register", account)["user"]["id"]
    invitation = {"email": f"invited-{mark}@example.com", "role": "viewer"}
    member = api.post(f"/workspaces/{workspace}/members", invitation)["id"]
    return {"WORKSPACE_ID": workspace, "APPLICATION_ID": application, "USER_ID": user,
            "MEMBER_ID": member}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "10"))
