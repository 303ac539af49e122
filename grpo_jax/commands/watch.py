"""Show runs in a browser while they go on: state, curves and pairs.

    grpo watch runs/two_grpo
    grpo watch runs/two_grpo runs/grpo_16    # beside each other

The command serves one page on this machine and names its address. The page asks for new lines every two seconds. It
waits for a run that does not exist yet, and goes on with a run that is continued. Ctrl-C ends the command; the runs are
not touched.

Exit codes: 0 ended by Ctrl-C; 2 not served, with the reason.
"""

import argparse
from collections.abc import Sequence

from grpo_jax.config import command_line

PORT = 6010


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=command_line.path, metavar="RUN", help="the directory of a run")
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="the address to listen on; default: 127.0.0.1, which only this machine can reach. "
        "Whoever can reach another one can read the runs: there is no password",
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"the port; 0 takes a free one; default: {PORT}")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = make_parser()
    arguments = command_line.read(parser, argv)
    if not 0 <= arguments.port < 2**16:
        parser.error(f"--port={arguments.port}: must be from 0 to 65535")
    if files := [run for run in arguments.runs if run.is_file()]:
        parser.error(f"{files[0]}: is a file; name the directory of a run")

    # This import takes seconds; mistakes are reported before.
    from grpo_jax.reporting.watch import make_server

    try:
        server = make_server(arguments.runs, arguments.address, arguments.port)
    except OSError as error:
        where = f"--address={arguments.address} --port={arguments.port}"
        return command_line.fail(f"{where}: cannot be listened on ({error.strerror}); name another port.", 2)
    with server:
        command_line.tell(f"http://{arguments.address}:{server.server_port}/ (Ctrl-C ends this)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
