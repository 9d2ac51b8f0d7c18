//! Every way in which a store leaves: each must be told with the right names and bytes.

use jaga_tests::ways_out::WAYS_OUT;
use jaga_tests::world::World;

/// Leaves in this way, beside the agent on its best rung.
fn told(name: &str) {
    let way = WAYS_OUT.iter().find(|way| way.name == name);
    let way = way.unwrap_or_else(|| panic!("there is no way out called '{name}'"));
    let Some(mut world) = World::new(name) else {
        return;
    };
    let (files, bytes) = way.files;
    let store = world.store("ekg", files, bytes);
    let mut agent = world.agent(&[("ekg", &store)], "");
    let sent = (way.take)(&mut world, &store);
    way.leak.told(&mut agent, sent);
}

#[test]
fn curl_of_single_files() {
    told("curl of single files");
}

#[test]
fn tar_into_curl() {
    told("tar into curl");
}

#[test]
fn staged_by_one_login_and_sent_by_another() {
    told("staged by one login and sent by another");
}

#[test]
fn rsync_over_ssh() {
    told("rsync over ssh");
}

#[test]
fn a_thousand_small_uploads() {
    told("a thousand small uploads");
}

#[test]
fn a_leak_that_outlives_its_login() {
    told("a leak that outlives its login");
}

#[test]
fn files_renamed_and_deleted_while_they_are_read() {
    told("files renamed and deleted while they are read");
}

#[test]
fn scp_to_a_pc_inside() {
    told("scp to a PC inside");
}

#[test]
fn by_io_uring() {
    told("by io_uring");
}

#[test]
fn by_sendfile() {
    told("by sendfile");
}

#[test]
fn by_a_tool_under_a_harmless_name() {
    told("by a tool under a harmless name");
}

#[test]
fn pulled_by_scp() {
    told("pulled by scp");
}

#[test]
fn pulled_by_sftp() {
    told("pulled by sftp");
}

#[test]
fn pulled_by_ssh_and_tar() {
    told("pulled by ssh and tar");
}

#[test]
fn served_by_python() {
    told("served by python");
}

#[test]
fn through_a_proxy_by_connect() {
    told("through a proxy by CONNECT");
}

#[test]
fn through_a_proxy_by_absolute_form() {
    told("through a proxy by absolute form");
}
