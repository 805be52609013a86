# Completion of jobrunner for bash 4.4 and newer. Generated; `jobrunner completion install` puts it in place.

_jobrunner() {
    local program=$1 answer
    local -a lines
    [[ $program != '~/'* ]] || program=$HOME/${program:2}
    type -P -- "$program" >/dev/null || program=jobrunner
    answer=$("$program" __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" "$COMP_TYPE" 2>/dev/null </dev/null)
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
