#!/bin/sh
# `make run`: a fleet is placed on two recorded many-node hosts and created on the embedded hypervisor.
# $1 is the numaplace command. Everything is written below ./demo, which is made anew each time.
set -eu
numaplace=$1
here=$(dirname "$0")
rm -rf demo
mkdir demo
cp "$here/fleet.yaml" "$here/hosts.yaml" demo/
export NUMAPLACE_LEDGER=demo/ledger.sqlite NUMAPLACE_HOSTS=demo/hosts.yaml

show() { printf '\n$ numaplace %s\n' "$*"; "$numaplace" "$@"; }
# Exit status 3 says that some guest has no place; this fleet has one such guest, to show the reason.
show_refusal() { printf '\n$ numaplace %s\n' "$*"; "$numaplace" "$@" || [ $? -eq 3 ]; }

"$numaplace" sim create demo/h1.sim --from "$here/h1.json" --name h1 --flavour kvm
"$numaplace" sim create demo/h2.sim --from "$here/h2.json" --name h2 --flavour kvm
show probe --host h1
show_refusal plan demo/fleet.yaml -o demo/plan.json
show_refusal apply demo/plan.json
show status --svg demo/fleet.svg

cat <<END

The fleet runs on the embedded hypervisor, in ./demo. What to try next:
  export NUMAPLACE_LEDGER=demo/ledger.sqlite NUMAPLACE_HOSTS=demo/hosts.yaml
  $numaplace destroy web-1                  # gives back what it was promised
  $numaplace plan demo/fleet.yaml --what-if lose=each    # each host lost in turn: who finds no other place
  $numaplace probe                          # this machine
  $numaplace advise 4:8GiB                  # one guest on this machine, an answer to paste
  $numaplace doctor                         # what real hosts need
A picture of both hosts: demo/fleet.svg. README.md goes on from here.
END
