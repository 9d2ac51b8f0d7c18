//! Users who log in over a real sshd with PAM, so that the kernel gives them audit sessions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::net::Host;
use crate::process::{Running, run};
use crate::wait::until;

/// Users that exist while a world does. The prefix keeps them from clashing with anybody real.
const USERS: &[&str] = &["jagat-alice", "jagat-bob"];

/// One sshd's keys and configuration, the same on every host of a world, and a client's.
#[derive(Debug)]
pub struct Logins {
    folder: PathBuf,
}

impl Logins {
    /// Creates users, keys and configuration under `folder`.
    ///
    /// # Panics
    /// Without the tools or the rights.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let logins = Self {
            folder: folder.to_path_buf(),
        };
        fs::create_dir_all(folder).expect("the folder can be made");
        // Where sshd's unprivileged child is locked in; Debian's unit makes it, and no unit runs here.
        fs::create_dir_all("/run/sshd").expect("/run/sshd can be made");
        for user in USERS {
            // Left over from a run that was killed.
            let _ = Command::new("userdel")
                .arg(user)
                .stderr(Stdio::null())
                .status();
            // `-p *`: no password, yet not locked, which sshd would refuse.
            run(Command::new("useradd")
                .args(["--no-create-home", "--home-dir"])
                .arg(folder)
                .args(["--shell", "/bin/sh", "-p", "*", user]));
        }
        for key in ["host", "client"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(key)));
        }
        fs::copy(folder.join("client.pub"), folder.join("authorized"))
            .expect("the key can be copied");
        // rsync and scp as alice, from the watched host, use the client's key: ssh wants it to be its user's alone.
        for user in USERS {
            let copy = logins.key(user);
            fs::copy(folder.join("client"), &copy).expect("the key can be copied");
            run(Command::new("chown").arg(user).arg(&copy));
        }
        logins.write_config();
        logins
    }

    fn write_config(&self) {
        let folder = self.folder.display();
        // UsePAM with pam_loginuid is what makes an audit session.
        let config = format!(
            "HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nPidFile none\nUsePAM yes\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\nPrintMotd no\nLogLevel FATAL\n\
             Subsystem sftp /usr/lib/openssh/sftp-server\n"
        );
        fs::write(self.folder.join("sshd_config"), config)
            .expect("the configuration can be written");
    }

    fn key(&self, user: &str) -> PathBuf {
        self.folder.join(format!("client-{user}"))
    }

    /// sshd on port 22 of `host`.
    ///
    /// # Panics
    /// If it does not listen within 10 s.
    #[must_use]
    pub fn serve(&self, host: &Host) -> Running {
        let sshd = Running::start(
            host.command("/usr/sbin/sshd")
                .arg("-D")
                .arg("-e")
                .arg("-f")
                .arg(self.folder.join("sshd_config")),
        );
        until("sshd to listen", 10, || {
            host.inside(|| std::net::TcpStream::connect("127.0.0.1:22").ok())
        });
        sshd
    }

    /// Options that ssh, scp, sftp and rsync's ssh need as `user` of the calling host. Root's files if absent.
    #[must_use]
    pub fn options(&self, user: Option<&str>) -> String {
        let key = user.map_or_else(|| self.folder.join("client"), |user| self.key(user));
        format!(
            "-i {} -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -F none",
            key.display()
        )
    }

    /// `program` (ssh, scp, sftp) on host `from`, with the options that let it in.
    #[must_use]
    pub fn client(&self, from: &Host, program: &str) -> Command {
        let mut command = from.command(program);
        command.args(self.options(None).split(' '));
        command
    }

    /// A login of `user` from host `from` to `address`, which runs `script` and ends.
    #[must_use]
    pub fn login(&self, from: &Host, user: &str, address: &str, script: &str) -> Command {
        let mut command = self.client(from, "ssh");
        command.arg(format!("{user}@{address}")).arg(script);
        command
    }
}

impl Drop for Logins {
    fn drop(&mut self) {
        for user in USERS {
            let _ = Command::new("userdel")
                .arg(user)
                .stderr(Stdio::null())
                .status();
        }
    }
}
