#!/bin/sh
# Installs the programs of RabbitMQ with apt-get where they are missing, and says so; run by `tox -e rabbitmq`.
# The tests start a node of their own from them, so no broker is started here, and one that runs is not touched.
set -eu

command='apt-get install --no-install-recommends rabbitmq-server'

if [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "RabbitMQ's programs are missing, and there is no apt-get here: install rabbitmq-server (3.10 or newer) in this system's way" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "RabbitMQ's programs are missing, and there is no sudo here: let root type '$command'" >&2
    exit 1
  fi
  echo "RabbitMQ's programs are missing; sudo sh $0"
  sudo sh "$0" && exit 0
  echo "that did not work: let root type '$command'" >&2
  exit 1
fi

# Debian starts what it installs (here also cron, perhaps), unless this file says no. What an upgrade restarts is
# let be. A file that is there already has its reasons: it stays.
policy=/usr/sbin/policy-rc.d
made=
tidy() { [ -z "$made" ] || rm -f "$policy"; }
trap tidy EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e "$policy" ]; then
  made=yes
  cat >"$policy" <<'END'
#!/bin/sh
# Its arguments are a service and what is to be done to it: start, restart, or (start) where systemd does not run.
case "$*" in
*rabbitmq-server* | *epmd* | *" start"* | *" (start)"*) exit 101 ;;
esac
END
  chmod 755 "$policy"
fi

echo "RabbitMQ's programs are missing; $command"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends rabbitmq-server

# Nor with the next boot: who wants a broker enables it.
if command -v systemctl >/dev/null; then
  systemctl disable --quiet rabbitmq-server.service 2>/dev/null || true
fi
