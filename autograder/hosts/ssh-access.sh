#!/bin/sh
# What the key of a student may do over ssh: fetch from, and push to, the repositories whose file @ACCESS@ names the
# student. `autograder handout` writes this file, and the lines of authorized_keys that run it:
#
#     autograder-access.sh HOST LOGIN

LC_ALL=C
host=$1
login=$2
case $host in
@HOSTS@
*) base= ;;
esac

refuse() {
    echo "autograder: $1" >&2
    exit 1
}

asked=${SSH_ORIGINAL_COMMAND-}
case $asked in
"git-upload-pack "* | "git-receive-pack "*) ;;
"") refuse "hello, $login. This account is for git alone, there is no shell." ;;
*) refuse "this account is for git alone." ;;
esac
service=${asked%% *}
path=${asked#* }
path=${path#\'}
path=${path%\'}
case $path in
"$base"/*) path=${path#"$base"/} ;;
/*) path=${path#/} ;;
esac
case $path in
"" | -* | .* | */.* | */-* | *//* | *.git/?* | *[!A-Za-z0-9._/-]*) refuse "not the name of a repository." ;;
esac
path=${path%/}
path=$base/${path%.git}.git
if [ -z "$base" ] || ! grep -qxF -e "$login" "$path/@ACCESS@" 2>/dev/null; then
    refuse "there is no repository of this name to which $login has access."
fi
if [ "$service" = git-receive-pack ]; then
    size=$(du -sk "$path" 2>/dev/null | cut -f 1)
    [ "${size:-0}" -le @KIBIBYTES@ ] || refuse "this repository has become too large; ask the course staff."
fi
# Git and the hook get nothing that a student's ssh may have set, but the version of git's protocol.
case ${GIT_PROTOCOL-} in
version=[0-9]) ;;
*) GIT_PROTOCOL= ;;
esac
exec env -i HOME="${HOME-/}" PATH="$PATH" LC_ALL=C REMOTE_USER="$login" GIT_PROTOCOL="$GIT_PROTOCOL" \
    git "${service#git-}" "$path"
