//! What goes wrong or is given up, as one table of stable codes: counted, logged and told by `clino doctor` under the same
//! code.
//!
//! Owns: the codes, what they mean and what to do. May not touch: who notes an incident, how it is shown.

/// How much an incident matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Severity {
    /// Usual under load: nothing is wrong.
    #[default]
    Note,
    /// Somebody does not get what they asked for.
    Warning,
    /// Something is broken.
    Error,
}

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: [Self; 3] = [Self::Note, Self::Warning, Self::Error];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Who finds an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The daemon notes it when it happens: a line of the log, and a count.
    Noted,
    /// The doctor sees it by how the daemon stands when it is asked.
    Seen,
    /// The command `clino doctor` finds it on the way to the daemon.
    Client,
}

impl Origin {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noted => "log",
            Self::Seen => "doctor",
            Self::Client => "client",
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncidentInfo {
    /// Never changes, never means anything else.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Who finds it.
    pub origin: Origin,
    /// What happened, a sentence.
    pub what: &'static str,
    /// What to do next, a sentence.
    pub action: &'static str,
}

macro_rules! table {
    ($($incident:ident $code:literal $severity:ident $origin:ident $what:literal $action:literal;)*) => {
        /// Something that goes wrong or is given up.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Incident {
            $(#[doc = $what] $incident,)*
        }

        /// The table of all incidents, in the order of their codes.
        pub static INCIDENTS: [(Incident, IncidentInfo); [$(Incident::$incident),*].len()] = [$((
            Incident::$incident,
            IncidentInfo {
                code: $code,
                severity: Severity::$severity,
                origin: Origin::$origin,
                what: $what,
                action: $action,
            },
        ),)*];
    };
}

table! {
    SnapshotReplaced "C101" Note Noted
        "A snapshot was skipped because a newer one of its run took its place."
        "If a curve has too few points, push less often, ask for fewer measures, set a budget, or open the run with delivery EVERY.";
    SnapshotAbandoned "C102" Note Noted
        "A snapshot was skipped because its run was abandoned, stopped by its policy, or the daemon shut down."
        "Nothing needs to be done.";
    SnapshotFailed "C103" Error Noted
        "A snapshot could not be measured at all."
        "Read the reason in `clino watch RUN` or in the log; if it names a defect, report it with the log.";
    ReadingSkipped "C104" Warning Noted
        "A reading was skipped because it did not fit into its budget of seconds."
        "Raise the budget, lower the cost of the measure, or leave it out: `clino plan` tells what fits.";
    ReadingFailed "C105" Error Noted
        "A reading failed."
        "Read the reason in `clino watch RUN`; a panic is a defect of clino: report it with the log.";
    ModelMismatch "C106" Error Noted
        "A trainer's model is not what its configuration says, so its run has no readings."
        "Compare the configuration with the model that is trained (`clino watch RUN` shows both losses), and open a new run with the right one.";
    DeviceFallback "C107" Warning Noted
        "A snapshot was not measured on the GPU though the daemon has one."
        "Read the reason in the log; choose fewer measures or shorter probes, or give the GPU more memory.";
    DeviceLost "C108" Error Noted
        "A GPU failed for good; the daemon goes on without it."
        "Look at `nvidia-smi` and `dmesg`, and restart the daemon; if it fails again, run `clino selftest --device cuda:0`.";
    LanesLimited "C109" Warning Noted
        "The system gave no thread for a further snapshot, so fewer are measured by turns."
        "Raise the limit on threads (TasksMax, ulimit -u), or start fewer daemons on this machine.";
    EngineFailed "C110" Error Noted
        "A thread of the engine failed, or did not stop in time."
        "Restart the daemon, and report this with the log.";
    NoGpu "C111" Warning Noted
        "The daemon was to compute on a GPU if it can, and cannot: it computes on the CPU."
        "Read the reason in the log; start the daemon with --device cpu if that is what you want.";
    CheckFailed "C112" Warning Noted
        "A trainer's model could not be compared with its configuration."
        "Read the reason in the log; the trainer sends another comparison with its next snapshot.";
    MeasureLeftOut "C113" Warning Seen
        "A measure of the run is not made because there is no memory for it."
        "Raise `--memory`, use a smaller probe, or leave the measure out.";
    ManySkipped "C114" Warning Seen
        "Most snapshots of the run are skipped because newer ones come before they are measured."
        "Push less often, ask for fewer or cheaper measures, set a budget, or open the run with delivery EVERY.";
    SnapshotWaits "C115" Warning Seen
        "A snapshot has waited for more than a minute to be measured."
        "Close runs that nobody needs, ask for cheaper measures, or spread runs over more daemons.";
    UploadFailed "C201" Warning Noted
        "An upload was refused or broke off."
        "`clino watch RUN` shows why the last one of a run was refused; the log has all of them.";
    UploadSlow "C202" Warning Noted
        "An upload was ended because it sent nothing, or too little, for too long."
        "Look at the connection and at the trainer; `--idle` sets how long an upload may be silent.";
    MemoryRefused "C203" Warning Noted
        "An upload or a run was refused because it does not fit into the memory of the daemon, or its spool, now."
        "Close runs, ask for fewer measures or smaller probes, or raise `--memory`.";
    QuotaRefused "C204" Warning Noted
        "A quota of a project was used up."
        "Wait, close runs of the project, or raise the quota (docs/access.md).";
    RunRefused "C205" Warning Noted
        "A run was not opened because something in its request is wrong."
        "Read the reason at the trainer or in the log; docs/errors.md lists every text.";
    RunLimit "C206" Warning Noted
        "A run was not opened because as many are open as the daemon holds."
        "Close runs that nobody needs, or raise `--runs`.";
    MemoryWaited "C207" Note Noted
        "A snapshot had to wait for memory to be measured in."
        "If it lasts, close runs, ask for cheaper measures, or raise `--memory`.";
    ExaminationFailed "C208" Error Noted
        "A run was not opened because clino failed while it looked at it."
        "Report it with the log.";
    RunWarned "C209" Note Noted
        "A run was opened with a warning."
        "Read it at the trainer or in the log: some of the request may not mean what its sender expects.";
    MemoryNearlyFull "C210" Warning Seen
        "More than nine tenths of the memory of the daemon are claimed."
        "Close runs, ask for fewer measures or smaller probes, or raise `--memory`.";
    ConnectionRefused "C301" Warning Noted
        "A connection was closed before it was served: no handshake in time, or too many connections."
        "Look for clients that open connections and do not close them, or speak something else; `--connections` sets the limit.";
    CallShed "C302" Warning Noted
        "A call was refused because too much is asked at once."
        "Clients try again by themselves; if it lasts, look for one that asks too often.";
    CallTimedOut "C303" Warning Noted
        "A call was ended because its request did not arrive, or its answer was not read, in time."
        "Look at the connection and at the client.";
    AccessDenied "C304" Warning Noted
        "A call was refused: unknown token or certificate, or without the right."
        "Check the token of the client and its entry in the tokens file; the audit log says who asked.";
    MessageRefused "C305" Warning Noted
        "A message was too large or not one of clino's."
        "Update the client, or find out who speaks to this port.";
    ListenerFailed "C306" Error Noted
        "The system gave the daemon no connection, or a listener failed."
        "Raise the limit on open files (LimitNOFILE, ulimit -n); if that is not it, restart the daemon.";
    WatcherGap "C401" Note Noted
        "A watcher was too slow and missed events."
        "It has the newest state; read the history for what it missed.";
    ReadBackFailed "C402" Warning Noted
        "Events could not be read back from the history for a watcher."
        "Look at the disk of `--data`.";
    PolicyFailed "C403" Error Noted
        "A policy could not be asked, or did not answer in time."
        "Read the reason in the log; if it names a defect, report it.";
    PolicyLost "C404" Warning Noted
        "A run of an earlier daemon has a policy that this one does not know: nothing decides on the run."
        "Open a new run, with rules of `clino rules`.";
    HistoryFailed "C501" Error Noted
        "A write to the history failed and is tried again."
        "Look at the disk of `--data`: space, permissions, errors in `dmesg`; close other programs that lock the database.";
    HistoryDropped "C502" Error Noted
        "Something could not be kept in the history."
        "Look at the disk of `--data`; what the log names is lost after a restart.";
    SpoolRecreated "C503" Warning Noted
        "The spool was removed while the daemon was running, and made again."
        "Keep `--spool` out of what cleans temporary files.";
    AuditLineLost "C504" Error Noted
        "The audit log lost a line."
        "Look at the disk of `--audit`: space and permissions.";
    DiskRefused "C505" Error Noted
        "Uploads and runs are refused because a disk is full or fails."
        "Free space or mend the disk; `--reserve` sets how much stays free, `--retain` how much history is kept.";
    ReferenceLost "C506" Warning Noted
        "The initialization of a run could not be kept or read back: distances are measured without it."
        "Look at the disk of `--data` and `--spool`.";
    HistoryDamaged "C507" Error Noted
        "The history was damaged: it was moved aside, and a new one began."
        "Look at the disk of `--data`; the file that was moved aside can be given to `sqlite3 FILE .recover`.";
    HistoryUpkeep "C508" Warning Noted
        "Old runs could not be removed from the history, or its log not be cleared."
        "Look at the disk of `--data`, and close other programs that hold the database.";
    FilesExposed "C509" Warning Noted
        "Others on this machine can read files of the daemon."
        "Take away their rights: mode 0700 of folders, 0600 of files.";
    NetworkDisk "C510" Warning Noted
        "The history lies on a network file system: it is slower, and copies made while the daemon runs are unreliable."
        "Put `--data` on a disk of this machine.";
    DiskLow "C511" Warning Seen
        "A disk of the daemon is nearly full."
        "Free space, lower `--retain`, or move the folder: below `--reserve` nothing new is accepted.";
    SpoolFailed "C512" Error Seen
        "The spool cannot be used: snapshots above 4 MiB are refused."
        "Make the folder again, with the right to write in it, or start the daemon with another `--spool`.";
    SpoolInMemory "C513" Note Seen
        "The spool lies in a file system in memory, which takes the machine's memory beside `--memory`."
        "Put `--spool` on a disk.";
    NoHistory "C514" Note Seen
        "There is no history: runs and readings are lost when the daemon stops."
        "Start the daemon with `--data DIR` to keep them.";
    ReloadFailed "C601" Error Noted
        "A file of tokens, quotas or certificates changed and cannot be used; what was read before still counts."
        "Mend the file: the log names the line.";
    ExportFailed "C602" Warning Noted
        "Traces and metrics could not be sent to the collector."
        "Check `--otlp` and the collector.";
    WatchdogSilent "C603" Warning Noted
        "The service manager gets no signs of life, for want of a thread."
        "Raise the limit on threads (TasksMax, ulimit -u).";
    Starting "C701" Note Seen
        "The daemon is starting: the engine is not there yet."
        "Wait a moment.";
    Draining "C702" Warning Seen
        "The daemon shuts down."
        "Wait for the next one, or start it.";
    EngineGone "C703" Error Seen
        "The engine's thread has ended: nothing is measured any more."
        "Restart the daemon, and report this with the log.";
    NoDaemon "C801" Error Client
        "No daemon listens at the address."
        "Start one with `clino serve`, or give the address of one: `clino serve` prints it on its first line.";
    SocketDenied "C802" Error Client
        "You have no right to use the socket."
        "Run the command as the user of the daemon; a daemon with `--tokens` has a socket for everybody.";
    NotClino "C803" Error Client
        "Something else than the gRPC port of clino answers at the address."
        "Give the address of the gRPC port: `clino serve` prints it on its first line.";
    TlsNeeded "C804" Error Client
        "The daemon expects TLS, and the address has none."
        "Use https:// in the address, with the certificate authority in --ca or CLINO_CA.";
    TlsUnexpected "C805" Error Client
        "The address expects TLS, and the daemon speaks none."
        "Use http:// in the address, or start the daemon with --tls-cert and --tls-key.";
    CertificateRefused "C806" Error Client
        "A secure connection could not be made."
        "Check --ca, the name in the address, and --tls-cert and --tls-key if the daemon asks for certificates.";
    TokenRefused "C807" Error Client
        "The daemon does not know who asks."
        "Give a valid token: --token-file, CLINO_TOKEN_FILE or CLINO_TOKEN; `clino token` makes one.";
    RightMissing "C808" Error Client
        "The daemon knows who asks, and they may not read."
        "Use a token with the scope read.";
    VersionsApart "C809" Error Client
        "The versions of this command and of the daemon do not fit."
        "Update the older of the two.";
    ClientMisconfigured "C810" Error Client
        "A setting of this command is wrong."
        "Mend what it names.";
    VariableUnknown "C811" Warning Client
        "A variable of the environment looks like a setting of clino and is none."
        "Correct its name or remove it; `clino serve` refuses to start with it.";
    NoAnswer "C812" Error Client
        "Somebody listens at the address and does not answer in time."
        "Look whether the daemon hangs or the machine is overloaded, and at firewalls on the way; its log says more.";
}

impl Incident {
    /// Its line of the table.
    pub fn info(self) -> &'static IncidentInfo {
        &INCIDENTS[self as usize].1
    }

    /// Its code, as in `C101`.
    pub fn code(self) -> &'static str {
        self.info().code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_say_what_to_do() {
        for (place, (incident, info)) in INCIDENTS.iter().enumerate() {
            assert_eq!(*incident as usize, place);
            assert!(place == 0 || INCIDENTS[place - 1].1.code < info.code, "{}", info.code);
            assert!(info.code.len() == 4 && info.code.starts_with('C'), "{}", info.code);
            assert!(info.what.ends_with('.') && info.action.ends_with('.'), "{}", info.code);
            let client = info.code.starts_with("C8");
            assert_eq!(client, info.origin == Origin::Client, "{}", info.code);
        }
    }
}
