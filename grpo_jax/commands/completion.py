"""Print a script by which a shell completes commands, flags, shipped configurations, and fields after --config.

    grpo completion bash > ~/.local/share/bash-completion/completions/grpo
    grpo completion fish > ~/.config/fish/completions/grpo.fish
    source <(grpo completion zsh)    # in ~/.zshrc, after compinit

The script holds the names that this version knows. So completing starts no Python, and another version prints another
script.

Exit codes: 0 printed; 2 another shell is named.
"""

import argparse
import typing
from collections.abc import Iterator, Sequence

from grpo_jax.commands import COMMANDS, parser_of
from grpo_jax.config import CONFIGURATION, STUDY, command_line, fields, shipped

# The scripts have a word for all that may be typed, such as --config=two_grpo or --config.train.steps=, and offer those
# that begin as the word before the cursor does. (bash lists them without order, so there only the next part of a field
# is offered.) If none does, the shell completes the names of files. A word after --flag is one after --flag=.
BASH = r"""
_grpo() {
    local line=${COMP_LINE:0:COMP_POINT} typed words flag="" word candidate rest
    read -ra typed <<< "$line"  # bash would split at "=", too
    [[ $line == *[[:space:]] ]] && typed+=("")
    word=${typed[-1]}
    case ${#typed[@]},${typed[1]} in
        2,*) words="COMMANDS" ;;
CASES
    esac
    [[ " $words " == *" ${typed[-2]}= "* ]] && flag=${typed[-2]}=
    COMPREPLY=()
    for candidate in $words; do
        [[ $candidate == "$flag$word"* ]] || continue
        candidate=${candidate#"$flag"} rest=${candidate#"$word"}
        [[ $rest == *=* ]] && candidate=$word${rest%%=*}=
        [[ $candidate == --config.* && $rest == *.* ]] && candidate=$word${rest%%.*}.
        [[ $candidate == *[.=] ]] && compopt -o nospace 2> /dev/null
        [[ $word == *=* && $COMP_WORDBREAKS == *=* ]] && candidate=${candidate#"${word%=*}="}
        [[ $candidate ]] && COMPREPLY+=("$candidate")
    done
}
complete -o default -F _grpo grpo
"""
ZSH = r"""
_grpo() {
    local flag=; local -a candidates
    case $((CURRENT)),$words[2] in
        2,*) candidates=(COMMANDS) ;;
CASES
    esac
    (( $candidates[(Ie)$words[CURRENT-1]=] )) && flag=$words[CURRENT-1]=
    candidates=(${${(M)candidates:#$flag*}#$flag})
    compadd -S '' -- ${(M)candidates:#*[.=]} && return
    compadd -- ${candidates:#*[.=]} && return
    compset -P '*='
    _files
}
compdef _grpo grpo
"""
FISH = r"""
complete -c grpo -n '__fish_is_nth_token 1' -x -a 'COMMANDS'
CASES
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shell", choices=SHELLS, help="the shell that runs the script")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    script, case = SHELLS[command_line.read(make_parser(), argv).shell]
    cases = "\n".join(case.format(command=name, words=" ".join(_words(name))) for name in COMMANDS)
    command_line.tell(script.replace("COMMANDS", " ".join(COMMANDS)).replace("CASES", cases).strip())
    return 0


SHELLS = {  # the script, and the line of a command in it
    "bash": (BASH, '        *,{command}) words="{words}" ;;'),
    "zsh": (ZSH, "        *,{command}) candidates=({words}) ;;"),
    "fish": (FISH, "complete -c grpo -n '__fish_seen_subcommand_from {command}' -a '{words}'"),
}


def _words(name: str) -> Iterator[str]:
    """Yield the words that may follow a command."""
    files = {kind.flag.removeprefix("--"): shipped(kind) for kind in (CONFIGURATION, STUDY)}
    for action in parser_of(name)._actions:  # argparse has no public list of them
        known = files.get(action.dest, {}) if action.choices is None else action.choices
        choices = [value for value in known if isinstance(value, str)]
        if not action.option_strings:
            yield from choices
        for flag in (flag for flag in action.option_strings if flag.startswith("--")):
            if flag == command_line.FIELD:
                yield from _overrides()
            else:
                yield f"{flag}=" if action.nargs is None else flag
                yield from (f"{flag}={value}" for value in choices)


def _overrides() -> Iterator[str]:
    """Yield the flags of all fields, with their values where the schema lists them."""
    for field, kind in fields.leaves():
        base = fields.base(kind)
        yield f"--config.{field}{'.' if typing.get_origin(base) is dict else '='}"
        literals = typing.get_args(base) if typing.get_origin(base) is typing.Literal else ()
        yield from (f"--config.{field}={value}" for value in (("true", "false") if base is bool else literals))
