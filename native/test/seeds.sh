#!/bin/sh
# Writes the seeds of both fuzzers below the directory $1: well-formed inputs that the fuzzer then bends.
set -eu
mkdir -p "$1/netlink" "$1/shim"
# A request of one message that wants an ack (number 1); its ack; an error; a dump part and its end (number 2).
ack='\024\000\000\000\022\000\005\000\001\000\000\000\000\000\000\000\000\000\000\000'
dump='\020\000\000\000\022\000\001\003\002\000\000\000\000\000\000\000'
acked='\044\000\000\000\002\000\000\000\001\000\000\000\000\000\000\000\000\000\000\000\024\000\000\000\022\000\005\000\001\000\000\000\000\000\000\000'
refused='\044\000\000\000\002\000\000\000\002\000\000\000\000\000\000\000\376\377\377\377\024\000\000\000\022\000\005\000\002\000\000\000\000\000\000\000'
part='\025\000\000\000\020\000\002\000\002\000\000\000\000\000\000\000abcde\000\000\000'
done='\024\000\000\000\003\000\002\000\002\000\000\000\000\000\000\000\000\000\000\000'
printf "\024\000${ack}\044\000${acked}" > "$1/netlink/ack"
printf "\044\000${ack}${dump}\044\000${acked}\054\000${part}${done}" > "$1/netlink/dump"
printf "\044\000${ack}${dump}\044\000${refused}\044\000${acked}" > "$1/netlink/refused"
printf 'FRLD\000\001\000\000\000\000\000\005CNI_COMMAND=ADD\000PATH=/bin\000TRACEPARENT=00-1\000\000{"name":"x"}' > "$1/shim/add"
printf 'FRLD\000\001\000\377\000\020\000\000CNI_=\000CNI_X=\303\251\042\134\000BAGGAGE=a=b\000\000' > "$1/shim/odd"
