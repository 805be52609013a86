# Completion of jobrunner for fish 3.1 and newer. Generated; `jobrunner completion install` puts it in place.

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
    set -l lines (command $program __complete fish $words "$current" 2>/dev/null </dev/null)
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
