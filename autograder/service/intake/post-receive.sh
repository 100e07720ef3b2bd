#!/bin/sh
@MARK@ reports each push to the grading service; remove it with: autograder hook uninstall
# It never makes a push fail. Put a hook of your own beside it as @KEPT@: it runs after this one.
trap '' HUP INT PIPE TERM # report the push even if the student's connection ends
umask 027
LC_ALL=C
spool=@SPOOL@ base=@BASE@
host=@HOST@ owner=@OWNER@ name=@NAME@ place=@PLACE@
pushed=$(cat)

# Git runs this in the repository. If that is not the one for which the hook was installed, the repository was copied or
# renamed, or several repositories share the hook. The path below the host's folder is its name then.
here=$(pwd -P) installed=$owner/$name elsewhere=''
if [ "$here" != "$place" ]; then
    path=''
    case $here in "$base"/*/*.git) path=${here#"$base"/} path=${path%.git} ;; esac
    case $path in
        '' | *[!A-Za-z0-9._/-]*)
            elsewhere=$here
            case $here in *[!A-Za-z0-9._/\ -]*) elsewhere='a folder with an odd name' ;; esac
            ;;
        *) owner=${path%/*} name=${path##*/} ;;
    esac
fi

hand_over() {
    pushes='' count=0
    while read -r before after ref; do
        # the name of a graded branch needs no escaping in JSON
        case $before$after in *[!0-9a-f]*) continue ;; esac
        case $ref in *[!A-Za-z0-9._/-]*) continue ;; refs/heads/*) ;; *) continue ;; esac
        count=$((count + 1))
        [ "$count" -le @MOST@ ] || break
        pushes="$pushes,[\"$before\",\"$after\",\"$ref\"]"
    done <<END
$pushed
END
    [ -n "$pushes" ] || return 0
    at=''
    [ -z "$elsewhere" ] || at="\"elsewhere\":\"$elsewhere\","
    pusher=${GL_USER:-${REMOTE_USER:-${USER:-}}}
    case $pusher in *[!A-Za-z0-9._@-]*) pusher='' ;; esac
    [ "${#pusher}" -le 100 ] || pusher=''
    now=$(date +%s) || return 1
    for try in 1 2 3 4 5 6 7 8 9; do
        draft=$spool/.new-$now-$$-$try
        (set -C && : >"$draft") 2>/dev/null || continue # the file of another hook
        # the shell's own error messages are nothing for students
        if { printf '{"format":@FORMAT@,"host":"%s","owner":"%s","name":"%s",%s' "$host" "$owner" "$name" "$at" >"$draft" &&
            printf '"pusher":"%s","received":%s,"pushes":[%s]}\n' "$pusher" "$now" "${pushes#,}" >>"$draft" &&
            { sync "$draft" || sync; }; } 2>/dev/null; then
            if ln "$draft" "$spool/$now-$$-$try.json" 2>/dev/null; then # never replaces another file
                rm -f "$draft"
                sync "$spool" 2>/dev/null || sync
                return 0
            fi
        else
            rm -f "$draft"
            return 1
        fi
        rm -f "$draft"
    done
    return 1
}

if ! hand_over; then
    echo "autograder: your push is safe, but the grading service was not told of it." >&2
    echo "autograder: please tell the course staff: $spool cannot be written." >&2
fi
if [ -n "$elsewhere" ]; then
    echo "autograder: your push is safe, but it is not graded: this repository was copied or moved." >&2
    echo "autograder: please tell the course staff: autograder hook install $here" >&2
elif [ "$owner/$name" != "$installed" ]; then
    echo "autograder: this repository was copied or renamed: the push counts for $owner/$name," >&2
    echo "autograder: not for $installed. If that is wrong, please tell the course staff." >&2
fi
if [ -x "$0.local" ]; then
    trap - HUP INT PIPE TERM
    printf '%s\n' "$pushed" | "$0.local"
fi
exit 0
