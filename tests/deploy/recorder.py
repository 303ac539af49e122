"""Stands for a command: writes down how it was called, and answers as the test wants.

python recorder.py NAME ARGUMENTS

RECORD is a file, to which a JSON list of the name and the arguments is appended. ANSWERS is a directory. Its file NAME
has a JSON list of [pattern, output, exit code], of which the first whose pattern is part of the arguments is taken out.
Without one, the command prints nothing and exits with 0.
"""

import json
import os
import sys
from pathlib import Path


def main():
    name, *arguments = sys.argv[1:]
    if name == "sudo":
        os.execvp(arguments[0], arguments)
    if name == "tee":  # a file that a script writes on another machine
        arguments.append(sys.stdin.read())
    with open(os.environ["RECORD"], "a") as record:
        record.write(json.dumps([name, *arguments]) + "\n")
    for argument in arguments:
        if name == "gcloud" and argument.startswith("--command="):
            os.execvp("bash", ["bash", "-c", argument.removeprefix("--command=")])
    answers = Path(os.environ["ANSWERS"], name)
    waiting = json.loads(answers.read_text()) if answers.exists() else []
    for answer in waiting:
        pattern, output, code = answer
        if pattern in " ".join(arguments):
            waiting.remove(answer)
            answers.write_text(json.dumps(waiting))
            sys.stdout.write(output)
            sys.exit(code)


main()
