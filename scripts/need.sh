# shellcheck shell=bash
# Sourced by the other scripts: puts tools in place, and says so. Expects `set -euo pipefail`.

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf '\033[1;31merror:\033[0m %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# The command prefix that makes us root, or failure.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif have sudo && sudo -n true 2>/dev/null; then sudo -n "$@"
  else return 1
  fi
}

can_apt() { have apt-get && as_root true 2>/dev/null; }

apt_updated=
# apt PACKAGE…: installs what is not there yet.
apt() {
  say "installing $* with apt-get"
  if [ -z "$apt_updated" ]; then
    as_root apt-get update -qq >&2 || say "apt-get update failed; trying with the lists that are there"
    apt_updated=1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 \
    || die "apt-get could not install $*"
}

need_rust() {
  if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH="$HOME/.cargo/bin:$PATH"; fi
  have cargo || die "Rust is missing. Install it from https://rustup.rs (this workspace needs 1.95 or newer), then run this again."
}

need_cc() {
  if have cc || have gcc || have clang; then return; fi
  can_apt || die "A C compiler is missing. Install one (Debian: apt-get install gcc libc6-dev), then run this again."
  apt gcc libc6-dev
}

# zlib-ng, which Pingora builds, needs cmake and make (or ninja).
need_cmake() {
  if have cmake && have make; then return; fi
  if can_apt; then apt cmake make; return; fi
  local venv=$target/tools/cmake
  if [ ! -x "$venv/bin/ninja" ] && have python3 && python3 -c 'import venv, ensurepip' 2>/dev/null; then
    say "installing cmake and ninja from PyPI into $venv"
    python3 -m venv "$venv" && "$venv/bin/pip" install --quiet cmake==4.4.4 ninja==1.13.2 >&2 || true
  fi
  [ -x "$venv/bin/ninja" ] \
    || die "cmake or make is missing, and neither apt-get (as root or by passwordless sudo) nor Python's venv can provide it. Install both, then run this again."
  export PATH="$venv/bin:$PATH" CMAKE_GENERATOR=Ninja
}

postgres_bin() {
  local dir
  for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
    if [ -x "$dir/initdb" ]; then echo "$dir"; return; fi
  done
  if have initdb && have postgres; then dirname "$(command -v initdb)"; fi
}

# PostgreSQL's programs; nothing of it is started.
need_postgres() {
  if [ -n "$(postgres_bin)" ]; then return; fi
  can_apt || die "The PostgreSQL server is missing. Install it (Debian: apt-get install postgresql), then run this again."
  # Only the programs are wanted: without this Debian would also start a server.
  apt postgresql-common
  as_root sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
  apt postgresql
}
