//! DICOM with real programs: who calls whom by which title, contracts with titles, and a C-MOVE to a title that none names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jaga_tests::agent::is;
use jaga_tests::daemons::has;
use jaga_tests::leak::nothing_told;
use jaga_tests::net::{HOST_INSIDE, LAN, OUT};
use jaga_tests::process::{Running, run};
use jaga_tests::wait::until;
use jaga_tests::world::World;

/// Images, each of about this many bytes.
const IMAGE: usize = 1_000_000;

fn programs() -> bool {
    [
        "storescu", "storescp", "movescu", "dcmqrscp", "dcmqridx", "dump2dcm",
    ]
    .iter()
    .all(|program| has(program, "dcmtk"))
}

/// A store of so many images of one study.
fn images(world: &World, count: usize) -> PathBuf {
    let (store, work) = (world.path("radiology"), world.path("work"));
    let pixels = work.join("pixels");
    for number in 1..=count {
        let noise: Vec<u8> = (0..IMAGE).map(|at| ((at * number) >> 3) as u8).collect();
        fs::write(&pixels, noise).unwrap();
        let dump = format!(
            "(0008,0016) UI =SecondaryCaptureImageStorage\n(0008,0018) UI [1.2.826.0.1.3680043.10.99.1.1.{number}]\n\
             (0008,0060) CS [OT]\n(0010,0010) PN [Test^Pat]\n(0010,0020) LO [P1]\n\
             (0020,000d) UI [1.2.826.0.1.3680043.10.99.1]\n(0020,000e) UI [1.2.826.0.1.3680043.10.99.1.0]\n\
             (0020,0013) IS [{number}]\n(0028,0002) US 1\n(0028,0004) CS [MONOCHROME2]\n(0028,0010) US 1000\n\
             (0028,0011) US 1000\n(0028,0100) US 8\n(0028,0101) US 8\n(0028,0102) US 7\n(0028,0103) US 0\n\
             (7fe0,0010) OW ={}\n",
            pixels.display()
        );
        let text = work.join("dump");
        fs::write(&text, dump).unwrap();
        let image = store.join(format!("{number}.dcm"));
        run(Command::new("dump2dcm")
            .args(["-q", "+te"])
            .arg(&text)
            .arg(image));
    }
    store
}

/// A program that takes images, on another host.
fn takes(world: &mut World, title: &str, port: u16) -> PathBuf {
    let folder = world.path(&format!("taken-{title}"));
    let mut scp = world.net.out.command("storescp");
    let scp = scp
        .env("TCP_NODELAY", "1")
        .args(["-q", "-aet", title, "-od"]);
    world.keep(Running::start(scp.arg(&folder).arg(port.to_string())));
    listens(world, port);
    folder
}

fn listens(world: &World, port: u16) {
    until(&format!("port {port} to listen"), 20, || {
        world
            .net
            .out
            .inside(|| std::net::TcpStream::connect((OUT, port)).ok())
    });
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Orthanc, in its unit, with the store as its own; what it serves is data of the store, read or not.
fn orthanc(world: &mut World, store: &Path) {
    let work = world.path("work");
    let config = serde_json::json!({
        "Name": "jaga", "StorageDirectory": store, "IndexDirectory": work.join("index"), "Plugins": [],
        "DicomAet": "ORTHANC", "DicomPort": 4242, "HttpPort": 8042, "AuthenticationEnabled": false,
        "DicomAlwaysAllowFind": true, "DicomAlwaysAllowMove": true, "DicomAlwaysAllowStore": true,
        "DicomModalities": { "archive": ["ARCHIVE", OUT, 11_112], "rogue": ["ROGUE", OUT, 11_113] },
    });
    let file = work.join("orthanc.json");
    fs::write(&file, config.to_string()).unwrap();
    let script = format!("TCP_NODELAY=1 exec Orthanc {}", file.display());
    world.serve_in_unit("jagat-orthanc.service", &script);
    until("Orthanc to answer", 60, || asks(&["system"]));
}

/// What Orthanc's REST interface answers; absent if it does not.
fn asks(words: &[&str]) -> Option<serde_json::Value> {
    let (path, body) = words.split_first().unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-sf", &format!("http://127.0.0.1:8042/{path}")]);
    if let [body] = body {
        curl.args(["-d", body]);
    }
    let told = curl.output().unwrap();
    serde_json::from_slice(&told.stdout).ok()
}

/// A modality stores a study; Orthanc may send it to its archive, and somebody has it send to another title, by its REST
/// interface and by a C-MOVE.
#[test]
fn orthanc_sends_a_study_to_its_archive_and_to_another() {
    let name = "orthanc_sends_a_study_to_its_archive_and_to_another";
    let Some(mut world) = World::new(name).filter(|_| programs() && has("Orthanc", "orthanc"))
    else {
        return;
    };
    let scanned = images(&world, 12);
    let store = world.path("pacs");
    let (archive, rogue) = (
        takes(&mut world, "ARCHIVE", 11_112),
        takes(&mut world, "ROGUE", 11_113),
    );
    let contract = format!(
        "serves: [{{ store: ekg, unit: jagat-orthanc.service }}]\ncontracts:\n  - {{ name: archive, who: {{ unit: \
         jagat-orthanc.service, ae-title: ORTHANC }}, to: {OUT}, to-ae: [ARCHIVE], owner: it }}\n"
    );
    let mut agent = world.agent_of_records(&store, 1_000, &contract);
    orthanc(&mut world, &store);

    let mut modality = world.net.lan.command("storescu");
    modality.args(["-aet", "CT1", "-aec", "ORTHANC", "+sd", HOST_INSIDE, "4242"]);
    Running::start(modality.arg(&scanned)).done(60);
    let studies = asks(&["studies"]).expect("Orthanc answers");
    let study = studies[0].as_str().expect("the study is there").to_owned();

    // A sender's first bytes may be counted before its titles are: the contract holds from the second association on.
    let under = [("contract", "archive")];
    until("the archive's titles to be known", 30, || {
        asks(&["modalities/archive/echo", "{}"]);
        let booked = agent.metric("jaga_contract_sent_bytes_total", &under);
        booked.filter(|booked| *booked > 0.0)
    });
    asks(&["modalities/archive/store", &study]).expect("the archive takes it");
    assert_eq!((count(&archive), count(&rogue)), (12, 0));
    agent.metric_reaches("jaga_contract_sent_bytes_total", &under, 12e6);
    let is_quiet = |told: &serde_json::Value| told["severity"] == "info";
    assert!(agent.alerts().iter().all(is_quiet), "{:?}", agent.alerts());

    let mut ask = world.net.lan.command("movescu");
    ask.args(["-S", "-aet", "PC7", "-aec", "ORTHANC", "-aem", "ROGUE"])
        .args(["-k", "QueryRetrieveLevel=STUDY", "-k"])
        .arg("StudyInstanceUID=1.2.826.0.1.3680043.10.99.1")
        .args([HOST_INSIDE, "4242"]);
    Running::start(&mut ask).done(60);
    let moved = agent.alert("dicom-moved-away", "firing", &[("ae-title", "ROGUE")]);
    println!("   {}", moved["summary"]);
    asks(&["modalities/rogue/store", &study]).expect("another takes it");
    assert_eq!(count(&rogue), 12);
    let session = ("session", "unit:jagat-orthanc.service");
    let leak = agent.alert("store-data-leaves", "firing", &[session]);
    println!("   {}", leak["summary"]);
    let to = format!("{OUT}:11113");
    assert!(leak["destinations"].to_string().contains(&to), "{leak:#}");
    agent.replay_equals_live();
}

/// The same program, unit, user and address: the title alone is another.
#[test]
fn a_contract_is_for_the_titles_that_it_names() {
    let Some(mut world) =
        World::new("a_contract_is_for_the_titles_that_it_names").filter(|_| programs())
    else {
        return;
    };
    let store = images(&world, 6);
    let (archive, rogue) = (
        takes(&mut world, "ARCHIVE", 11_112),
        takes(&mut world, "ROGUE", 11_113),
    );
    let contract = format!(
        "contracts:\n  - {{ name: archive, who: {{ unit: jagat-pacs.service, exe: /usr/bin/storescu, ae-title: PACS }}, \
         to: {OUT}, to-ae: [ARCHIVE], owner: it }}\n"
    );
    let mut agent = world.agent(&[("radiology", &store)], &contract);
    let send = |title: &str, port: u16| {
        format!(
            "TCP_NODELAY=1 storescu -aet PACS -aec {title} +sd {OUT} {port} {}",
            store.display()
        )
    };
    // A sender's first bytes may be counted before its titles are: the contract holds from the second association on.
    let hello = "echoscu -aet PACS -aec ARCHIVE";
    let sends = format!("{hello} {OUT} 11112; sleep 1; {}", send("ARCHIVE", 11_112));
    world.in_unit("jagat-pacs.service", &sends, 60);
    let under = [("contract", "archive")];
    agent.metric_reaches("jaga_contract_sent_bytes_total", &under, 6e6);
    let scope = |scope: &str| {
        let labels = [("store", "radiology"), ("scope", scope)];
        agent
            .metric("jaga_store_exposed_bytes_total", &labels)
            .unwrap_or(0.0)
    };
    let before = scope("external");
    assert!(before < 5e4, "{before} bytes were outside of the contract");
    world.in_unit("jagat-pacs.service", &send("ROGUE", 11_113), 60);
    assert_eq!((count(&archive), count(&rogue)), (6, 6));
    until("the same to another title to be outside", 20, || {
        (scope("external") >= 6e6).then_some(())
    });
    nothing_told(&mut agent);
}

#[test]
fn a_move_to_a_title_that_no_contract_names() {
    let Some(mut world) =
        World::new("a_move_to_a_title_that_no_contract_names").filter(|_| programs())
    else {
        return;
    };
    let store = images(&world, 6);
    run(Command::new("dcmqridx").arg(&store).args(
        fs::read_dir(&store)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect::<Vec<_>>(),
    ));
    let (ward, rogue) = (
        takes(&mut world, "WARD3", 11_112),
        takes(&mut world, "ROGUE", 11_113),
    );
    let config = world.path("work").join("qr.cfg");
    let text = format!(
        "NetworkTCPPort = 11104\nMaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\nward = (WARD3, {OUT}, 11112)\n\
         rogue = (ROGUE, {OUT}, 11113)\nHostTable END\nVendorTable BEGIN\nVendorTable END\nAETable BEGIN\n\
         ARCHIVE {} RW (500, 1024mb) ANY\nAETable END\n",
        store.display()
    );
    fs::write(&config, text).unwrap();
    let contract = format!(
        "serves: [{{ store: radiology, unit: jagat-pacs.service }}]\ncontracts:\n  - {{ name: wards, who: {{ unit: \
         jagat-pacs.service }}, to: {OUT}, to-ae: [WARD3], owner: it }}\n"
    );
    let mut agent = world.agent(&[("radiology", &store)], &contract);
    world.serve_in_unit(
        "jagat-pacs.service",
        &format!("TCP_NODELAY=1 exec dcmqrscp -c {}", config.display()),
    );
    let ask = |title: &str| {
        let mut ask = world.net.lan.command("movescu");
        let ask = ask
            .env("TCP_NODELAY", "1")
            .args(["-S", "-aet", "PC7", "-aec", "ARCHIVE"]);
        let ask = ask.args(["-aem", title, "-k", "QueryRetrieveLevel=STUDY", "-k"]);
        let ask = ask.arg("StudyInstanceUID=1.2.826.0.1.3680043.10.99.1");
        ask.args([HOST_INSIDE, "11104"])
            .status()
            .expect("movescu is there")
            .success()
    };
    until("the ward to have its study", 30, || {
        (ask("WARD3") && count(&ward) == 6).then_some(())
    });
    let moved = |told: &&serde_json::Value| is(told, "dicom-moved-away", "firing", &[]);
    assert_eq!(agent.alerts().iter().filter(moved).count(), 0, "a ward may");
    assert!(ask("ROGUE"));
    assert_eq!(count(&rogue), 6);
    let alert = agent.alert("dicom-moved-away", "firing", &[("ae-title", "ROGUE")]);
    let summary = alert["summary"].as_str().unwrap();
    println!("   {summary}");
    assert!(
        summary.contains("PC7") && summary.contains(LAN),
        "{summary}"
    );
    agent.replay_equals_live();
}
