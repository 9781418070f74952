#!/bin/sh
# Install or update the service on a bare Debian (12 or newer) machine with systemd. Run it as root, from a checkout. A
# repeated run updates the installation and keeps what you have changed: the settings in /etc/background-remover/env, and
# drop-ins (systemctl edit, /etc/nginx/background-remover.d, /etc/redis/background-remover.d). Files that it writes say so
# in their first line; before it replaces one that has been changed, it copies it to /etc/background-remover/backup/DATE.
#
#   deploy/install.sh [--instances N] [--nginx] [--redis]
#
#   --instances N  N instances, on ports 5001, 5002, …; cores and memory are divided among them (default: 1)
#   --nginx        nginx with TLS in front; replaces /etc/nginx/nginx.conf
#   --redis        Redis for rate limits; shares the counts of several instances
#
# With DESTDIR=/some/folder all files are installed below it, without packages, user or services.
set -eu
umask 022

NAME=background-remover
HOME_DIR=/opt/$NAME
CONFIG_DIR=/etc/$NAME
STATE_DIR=/var/lib/$NAME
FIRST_PORT=5001
CODE="app docs gunicorn.conf.py requirements.txt requirements-rembg.txt requirements-jobs.txt .env.sample LICENSE"
MARK="# Written by install.sh of $NAME, whose next run replaces this file."
DESTDIR=${DESTDIR:-}
BACKUP=$DESTDIR$CONFIG_DIR/backup/$(date +%Y-%m-%d-%H%M%S)
SOURCE=$(cd "$(dirname "$0")/.." && pwd)

instances=1 nginx=no redis=no

main() {
    read_options "$@"
    check_machine
    install_packages
    make_user
    install_code
    install_settings
    install_units
    [ $redis = no ] || install_redis
    [ $nginx = no ] || install_nginx
    start_services
    print_next_steps
}

usage() {
    sed -n '2,/^set -eu/{/^set/d;s/^# \{0,1\}//;p}' "$0"
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

live() { [ -z "$DESTDIR" ]; }

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --instances) shift; instances=${1:-} ;;
            --nginx) nginx=yes ;;
            --redis) redis=yes ;;
            -h | --help) usage; exit 0 ;;
            *) usage >&2; fail "unknown option $1" ;;
        esac
        [ $# = 0 ] || shift
    done
    case $instances in
        '' | *[!0-9]* | 0*) fail "--instances must be a number of at least 1" ;;
    esac
}

check_machine() {
    [ -f "$SOURCE/gunicorn.conf.py" ] || fail "$SOURCE is not a checkout of the service"
    live || return 0
    [ "$(id -u)" = 0 ] || fail "only root can install: sudo $0"
    command -v apt-get >/dev/null || fail "only Debian and its derivatives are supported"
    [ -d /run/systemd/system ] || fail "systemd does not run here; docs/deployment.md describes alternatives"
}

install_packages() {
    live || return 0
    set -- python3 python3-venv
    [ $redis = no ] || set -- "$@" redis-server
    [ $nginx = no ] || set -- "$@" nginx openssl
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "$@"
}

make_user() {
    live || return 0
    id -u $NAME >/dev/null 2>&1 ||
        useradd --system --user-group --home-dir $STATE_DIR --no-create-home --shell /usr/sbin/nologin $NAME
}

# Code and packages belong to root, so that the service can't change them.
install_code() {
    home=$DESTDIR$HOME_DIR
    mkdir -p "$home"
    [ -x "$home/.venv/bin/pip" ] || python3 -m venv "$home/.venv"
    "$home/.venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed"
    pip="$home/.venv/bin/pip --disable-pip-version-check --quiet install"
    $pip -r "$SOURCE/requirements.txt"
    $pip --no-deps -r "$SOURCE/requirements-rembg.txt"
    ! grep -qs '^JOBS_BACKEND=celery' "$DESTDIR$CONFIG_DIR/env" || $pip -r "$SOURCE/requirements-jobs.txt"
    back_up_changed_code
    for item in $CODE; do
        rm -rf "$home/$item.new"
        cp -R "$SOURCE/$item" "$home/$item.new"
        rm -rf "${home:?}/$item"
        mv "$home/$item.new" "$home/$item"
    done
    "$home/.venv/bin/python" -m compileall -q "$home/app"
    chmod -R u=rwX,go=rX "$home"
    (cd "$home" && list_code >.installed)
    ln -sfn $CONFIG_DIR/env "$home/.env"
}

# Print the SHA-256 and the name of each installed file.
list_code() {
    # shellcheck disable=SC2086 # a list of names
    find $CODE -type f ! -name '*.pyc' -exec sha256sum {} +
}

back_up_changed_code() {
    [ -f "$home/.installed" ] || return 0
    (cd "$home" && list_code 2>/dev/null) | grep -vxFf "$home/.installed" | cut -c67- | while read -r changed; do
        back_up "$home/$changed"
    done
}

install_settings() {
    env=$DESTDIR$CONFIG_DIR/env
    mkdir -p "$DESTDIR$CONFIG_DIR"
    [ -f "$env" ] || cp "$SOURCE/.env.sample" "$env"
    setting OUTPUT_DIR $STATE_DIR/outputs
    setting UPLOAD_DIR $STATE_DIR/uploads
    setting JOBS_DIR $STATE_DIR/jobs
    setting REMBG_HOME $STATE_DIR/rembg
    if [ $nginx = yes ]; then
        setting HOST 127.0.0.1
        setting TRUSTED_PROXIES 1
    fi
    if [ $redis = yes ]; then
        setting RATE_LIMIT_STORAGE redis
        setting REDIS_URL redis://127.0.0.1:6379/0
    fi
    chmod 640 "$env"
    live || return 0
    chown root:$NAME $CONFIG_DIR "$env"
    chmod 750 $CONFIG_DIR
}

# Add a setting, unless the operator has set it.
setting() {
    grep -q "^$1=" "$env" || echo "$1=$2" >>"$env"
}

install_units() {
    units=$DESTDIR/etc/systemd/system
    for unit in "$SOURCE/deploy/systemd/$NAME"*; do
        generate "$units/${unit##*/}" "systemctl edit" <"$unit"
    done
    generate "$DESTDIR/etc/logrotate.d/$NAME" "another file in this folder" <"$SOURCE/deploy/logrotate/$NAME"
    share="$units/$NAME@.service.d/10-share.conf" # before override.conf, which `systemctl edit` writes and which wins
    rm -f "$units/$NAME@.service.d/share.conf" # of earlier versions
    if [ "$instances" = 1 ]; then
        rm -f "$share"
    else
        instance_limits | generate "$share" "systemctl edit"
    fi
}

# The service reads these limits and derives its engines from them.
instance_limits() {
    echo "# The share of one of $instances instances."
    echo "[Service]"
    echo "CPUQuota=$((100 * $(nproc) / instances))%"
    echo "MemoryMax=$((80 / instances))%"
}

install_redis() {
    mkdir -p "$DESTDIR/etc/redis/$NAME.d"
    generate "$DESTDIR/etc/redis/redis.conf" "/etc/redis/$NAME.d/*.conf" <"$SOURCE/deploy/redis.conf"
}

install_nginx() {
    mkdir -p "$DESTDIR/etc/nginx/tls" "$DESTDIR/etc/nginx/$NAME.d" "$DESTDIR/var/www/acme"
    with_instances <"$SOURCE/nginx.conf" | generate "$DESTDIR/etc/nginx/nginx.conf" "/etc/nginx/$NAME.d"
    [ -e "$DESTDIR/etc/nginx/tls/fullchain.pem" ] || create_certificate "$DESTDIR/etc/nginx/tls"
}

# Write standard input to a file, after a mark with the place of changes and the SHA-256; back up what is lost by that.
generate() {
    mkdir -p "${1%/*}"
    cat >"$1.content"
    { echo "$MARK Changes: $2. sha256=$(sha256_of <"$1.content")"; cat "$1.content"; } >"$1.new"
    rm "$1.content"
    [ ! -f "$1" ] || is_unchanged "$1" || back_up "$1"
    mv "$1.new" "$1"
}

sha256_of() { sha256sum | cut -c1-64; }

# Return whether a file is as this script wrote it.
is_unchanged() {
    [ "$(sed -n '1s/.* sha256=//p' "$1")" = "$(tail -n +2 "$1" | sha256_of)" ]
}

back_up() {
    copy=$BACKUP${1#"$DESTDIR"}
    mkdir -p "${copy%/*}"
    cp -p "$1" "$copy"
    echo "${1#"$DESTDIR"} was changed since the last run; the copy is ${copy#"$DESTDIR"}"
}

# Replace the `server` lines with one for each instance.
with_instances() {
    awk -v first=$FIRST_PORT -v instances="$instances" '
        /server 127\.0\.0\.1:[0-9]+ max_fails/ {
            if (!done++)
                for (port = first; port < first + instances; port++) {
                    line = $0
                    sub(/127\.0\.0\.1:[0-9]+/, "127.0.0.1:" port, line)
                    print line
                }
            next
        }
        { print }'
}

# Self-signed, until a trusted one replaces it; browsers show a warning.
create_certificate() {
    umask 077
    openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj "/CN=$(hostname)" \
        -keyout "$1/privkey.pem" -out "$1/fullchain.pem" 2>/dev/null
    umask 022
}

start_services() {
    live || return 0
    systemctl daemon-reload
    if [ $redis = yes ]; then
        systemctl enable --quiet redis-server
        systemctl restart redis-server
    fi
    systemctl enable --quiet --now $NAME-cleanup.timer
    port=$FIRST_PORT
    while [ "$port" -lt $((FIRST_PORT + instances)) ]; do # one after the other, so that the others still answer
        systemctl enable --quiet $NAME@"$port"
        systemctl restart $NAME@"$port"
        await_readiness "$port"
        [ "$instances" = 1 ] || sleep 3 # nginx skips it for two more seconds
        port=$((port + 1))
    done
    while [ -e "/etc/systemd/system/multi-user.target.wants/$NAME@$port.service" ]; do # instances of an earlier run
        systemctl disable --quiet --now $NAME@"$port"
        port=$((port + 1))
    done
    [ $nginx = no ] || reload_nginx
}

await_readiness() {
    tries=60
    until ready "$1"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "the instance on port $1 is not ready: journalctl -u $NAME@$1"
        sleep 1
    done
}

ready() {
    $HOME_DIR/.venv/bin/python - "$1" <<'PYTHON'
import sys, urllib.request
try:
    urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/health/ready", timeout=5)
except OSError:
    sys.exit(1)
PYTHON
}

reload_nginx() {
    nginx -t -q
    systemctl enable --quiet nginx
    systemctl reload-or-restart nginx
}

print_next_steps() {
    where=http://127.0.0.1:$FIRST_PORT
    [ $nginx = no ] || where=https://$(hostname)
    echo "Installed: curl --fail-with-body -k -F file=@photo.jpg $where/remove-background -o out.png"
    echo "Settings: $CONFIG_DIR/env, then systemctl restart '$NAME@*'. Log: journalctl -u '$NAME@*'."
    [ $nginx = no ] || echo "The certificate in /etc/nginx/tls is self-signed; docs/deployment.md describes how to get a trusted one."
}

main "$@"
