"""The scripts by which bash, zsh and fish complete `jobrunner`: each hands over what is typed and shows the answer.

What may follow is found out by `jobrunner` itself, in one way for all shells, so an installed script never grows old.
"""

from __future__ import annotations

#: The first word by which the scripts ask `jobrunner` what may follow.
COMPLETE = "__complete"

#: Shell -> the name of its script, as the shell looks for it.
FILES = {"bash": "jobrunner.bash", "zsh": "_jobrunner", "fish": "jobrunner.fish"}

_BASH = r"""# Completion of jobrunner for bash 4.4 and newer. Generated; `jobrunner completion install` puts it in place.

_jobrunner() {
    local program=$1 answer
    local -a lines
    [[ $program != '~/'* ]] || program=$HOME/${program:2}
    type -P -- "$program" >/dev/null || program=jobrunner
    answer=$("$program" @COMPLETE@ bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" "$COMP_TYPE" 2>/dev/null </dev/null)
    COMPREPLY=()
    mapfile -t lines <<<"$answer"
    case ${lines[0]} in
    file) compopt -o default ;;
    directory) compopt -o dirnames -o nospace ;;
    words)
        compopt -o nosort
        COMPREPLY=("${lines[@]:1}")
        ;;
    esac
}

complete -F _jobrunner jobrunner
"""

_ZSH = r"""#compdef jobrunner
# Completion of jobrunner for zsh. Generated; `jobrunner completion install` puts it in place.

_jobrunner() {
    local program=${(Q)words[1]} line
    local -a lines before described
    [[ $program != '~/'* ]] || program=$HOME/${program#'~/'}
    (( $+commands[$program] )) || [[ $program == */* && -x $program ]] || program=jobrunner
    (( CURRENT < 3 )) || before=("${(@Q)words[2,CURRENT-1]}")
    lines=("${(@f)$(command $program @COMPLETE@ zsh "${before[@]}" "${(Q)PREFIX}" 2>/dev/null </dev/null)}")
    case $lines[1] in
    file | directory)
        [[ $PREFIX != --*=* ]] || compset -P '*='
        if [[ $lines[1] == file ]]; then _files; else _files -/; fi
        ;;
    words)
        (( $#lines > 1 )) || return 1
        for line in "${(@)lines[2,-1]}"; do
            described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        done
        _describe -V jobrunner described
        ;;
    *) return 1 ;;
    esac
}

if [[ $funcstack[1] == _jobrunner ]]; then
    _jobrunner "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
    compdef _jobrunner jobrunner
fi
"""

_FISH = r"""# Completion of jobrunner for fish 3.1 and newer. Generated; `jobrunner completion install` puts it in place.

function __jobrunner_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct | string replace -r '^["\']' '')
    # NAME=value before the command.
    while string match -qr '^[A-Za-z_][A-Za-z0-9_]*=' -- $words[1]
        set -e words[1]
    end
    set -l program $words[1]
    set -e words[1]
    command -sq -- $program; or set program jobrunner
    set -l lines (command $program @COMPLETE@ fish $words "$current" 2>/dev/null </dev/null)
    # An empty list in place of an empty text would leave nothing of what it is joined to.
    set -l option (string match -r '^--[^=]*=' -- $current); or set option ''
    set -l value (string replace -r '^--[^=]*=' '' -- $current)
    switch "$lines[1]"
        case file
            printf '%s\n' $option(__fish_complete_path "$value")
        case directory
            printf '%s\n' $option(__fish_complete_directories "$value" '')
        case words
            set -e lines[1]
            printf '%s\n' $lines
    end
end

complete -c jobrunner -e
complete -c jobrunner -k -f -a '(__jobrunner_complete)'
"""

_TEMPLATES = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str) -> str:
    """The script for a shell of FILES."""
    return _TEMPLATES[shell].replace("@COMPLETE@", COMPLETE)
