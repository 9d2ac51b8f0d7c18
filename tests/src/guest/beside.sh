# Runs /before if there is one, the agent, /beside once its sensors see, and keeps what the agent made of it in /out.
metrics() { wget -q -O - http://127.0.0.1:9977/metrics; }
up() { [ "$(metrics | grep -cE '^jaga_sensor_up\{sensor="(files|channels|sockets|processes)"\} 1')" = 4 ]; }
# What the agent has counted: reading its metrics is a send of its own on loopback, so not that.
counted() { metrics | grep -E '^jaga_(store_|attributed_)'; }
give_up() { echo "$1" >&2; metrics >/out/metrics; exit 99; }

[ ! -e /before ] || sh /before || give_up "what comes before the agent failed"
jaga run --config /etc/jaga/jaga.yaml 2>/out/log &
agent=$!
tries=0
until up 2>/dev/null; do
    kill -0 $agent 2>/dev/null || give_up "the agent ended at once"
    tries=$((tries + 1))
    [ $tries -lt 300 ] || give_up "the sensors do not see"
    usleep 200000
done

sh /beside
status=$?

# Told a few times a second; done once it stands still.
now= before=none
while [ "$now" != "$before" ]; do before=$now; sleep 1; now=$(counted); done
metrics >/out/metrics
kill $agent
wait $agent
exit $status
