//! The functions of a release: reads, compiles and links its files, names each function, and describes all of them in
//! MetaData.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component as PathPart, Path};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::config::BytesRule;
use crate::deployment::{self, HTTP_FUNCTION};
use crate::runtime::wasm::files;
use crate::wasm::Wasm;
use crate::wasm::compile::SIZE_LIMIT;
use crate::wasm::componentize::{self, NotAComponent};
use crate::wasm_worker::failure::Failure;
use crate::wasm_worker::function_names::{self, Claim, Claims};
use crate::wasm_worker::host::Host;
use crate::wasm_worker::http_requests::Answered;
use crate::wasm_worker::messages::Load;
use crate::wasm_worker::metadata::Metadata;
use crate::wasm_worker::running_call::RunningCall;
use crate::wasm_worker::value::{Given, Signature};
use crate::wasm_worker::{component, http_requests, module};

/// The functions of a release.
pub(super) struct Functions {
    programs: Vec<Program>,
    by_name: HashMap<String, Target>,
    serve_http: bool,
}

enum Program {
    Component(component::Program),
    Module(module::Program),
}

/// What a name calls.
#[derive(Debug, Clone, Copy)]
struct Target {
    program: usize,
    call: Call,
}

#[derive(Debug, Clone, Copy)]
enum Call {
    Function(usize),
    Http,
}

/// Loads the files that Load names. Also returns the `data` of MetaData, and lines for the log about exports that
/// cannot be called.
pub(super) fn load(host: &Host, wasm: &Wasm, load: &Load) -> anyhow::Result<(Functions, Value, Vec<String>)> {
    let mut loading = Loading::default();
    for json in &load.jsons {
        for script in &json.scripts {
            let file = files::path_of(json, script);
            let is_inside = file.components().all(|part| matches!(part, PathPart::Normal(_)));
            if !is_inside {
                bail!("{}: the path leads out of the deployment's folder", file.display());
            }
            loading
                .add(host, wasm, &Path::new(&load.path).join(&file), script)
                .with_context(|| file.display().to_string())?;
        }
    }
    loading.finish(host, &load.id)
}

#[derive(Default)]
struct Loading {
    scripts: Vec<String>,
    programs: Vec<Program>,
    claims: Vec<Claims>,
    targets: Vec<Target>,
    left_out: Vec<String>,
}

impl Loading {
    fn add(&mut self, host: &Host, wasm: &Wasm, path: &Path, script: &str) -> anyhow::Result<()> {
        let stem = Path::new(script).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = read(path)?;
        let bytes = if files::is_text(path, &bytes) { wat::parse_bytes(&bytes)?.into_owned() } else { bytes };
        let (program, claims, left_out) = match componentize::component(bytes.clone()) {
            Ok(bytes) => {
                let component = wasm.component(&bytes)?;
                let loaded = component::load(host, &component, &stem)?;
                (Program::Component(loaded.program), loaded.claims, loaded.left_out)
            }
            Err(NotAComponent::CoreModule) => {
                let module = wasm.module(&bytes)?;
                let loaded = module::load(host, &module, &bytes, &stem)?;
                (Program::Module(loaded.program), loaded.claims, loaded.left_out)
            }
            Err(error) => return Err(error.into()),
        };
        let index = self.programs.len();
        self.left_out.extend(left_out.into_iter().map(|export| format!("{script}: left out {export}")));
        self.targets
            .extend((0..claims.len()).map(|function| Target { program: index, call: Call::Function(function) }));
        self.claims.extend(claims);
        if program.serves_http() {
            self.claims.push(Claims::root(Claim::Http, &stem, HTTP_FUNCTION));
            self.targets.push(Target { program: index, call: Call::Http });
        }
        self.programs.push(program);
        self.scripts.push(script.to_owned());
        Ok(())
    }

    fn finish(mut self, host: &Host, id: &str) -> anyhow::Result<(Functions, Value, Vec<String>)> {
        let serving: Vec<&str> = self
            .targets
            .iter()
            .filter(|target| matches!(target.call, Call::Http))
            .map(|target| self.scripts[target.program].as_str())
            .collect();
        if serving.len() > 1 {
            bail!(
                "{} each serve HTTP (wasi:http/incoming-handler): a deployment may have one such component",
                serving.join(" and ")
            );
        }
        if self.targets.is_empty() {
            bail!(
                "the deployment exports no function that can be called{}",
                self.left_out.iter().map(|line| format!("\n{line}")).collect::<String>()
            );
        }
        let serve_http = !serving.is_empty();
        let names = function_names::resolve(&self.claims);
        let mut by_name = HashMap::new();
        let mut metadata = Metadata::new(&self.scripts);
        for (target, names) in self.targets.iter().zip(names) {
            let Some(name) = &names.name else {
                self.left_out.push("left out a function: each of its names means another one too".to_owned());
                continue;
            };
            for name in names.aliases.iter().chain([name]) {
                by_name.insert(name.clone(), *target);
            }
            match target.call {
                Call::Http => metadata.add_http(target.program, &names, &http_requests::signature()),
                Call::Function(index) => {
                    let (signature, described) = self.programs[target.program].describe(index, host.settings().bytes);
                    metadata.add(target.program, &names, signature, &described);
                }
            }
        }
        Ok((Functions { programs: self.programs, by_name, serve_http }, metadata.into_data(id), self.left_out))
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > SIZE_LIMIT {
        bail!("the file is larger than {SIZE_LIMIT} bytes");
    }
    Ok(bytes)
}

impl Program {
    fn serves_http(&self) -> bool {
        match self {
            Self::Component(program) => program.serves_http(),
            Self::Module(_) => false,
        }
    }

    /// The signature of the function with this index, and what MetaData says of it.
    fn describe(&self, index: usize, bytes: BytesRule) -> (&Signature, deployment::Signature) {
        match self {
            Self::Component(program) => {
                let signature = &program.functions()[index].signature;
                (signature, signature.describe(bytes))
            }
            Self::Module(program) => {
                let function = &program.functions()[index];
                (&function.signature, function.describe(bytes))
            }
        }
    }
}

impl Functions {
    /// Calls a function. Appends the JSON of the result to `out`, unless the answer is a stream.
    pub(super) fn call(
        &self,
        host: &Host,
        name: &str,
        given: Given<'_>,
        running: Option<&Arc<RunningCall>>,
        deadline: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Answered, Failure> {
        let Some(target) = self.by_name.get(name) else { return Err(Failure::Unknown) };
        match (&self.programs[target.program], target.call, running) {
            (Program::Component(program), Call::Http, Some(running)) => {
                return http_requests::serve(program, host, given.args, running, deadline, out);
            }
            (Program::Component(program), Call::Function(index), _) => {
                program.call(host, index, given, deadline, out)?;
            }
            (Program::Module(program), Call::Function(index), _) => program.call(host, index, given, deadline, out)?,
            (_, Call::Http, _) => return Err(Failure::Unknown),
        }
        Ok(Answered::Whole)
    }

    /// Whether a component serves whole HTTP requests.
    pub(super) fn serve_http(&self) -> bool {
        self.serve_http
    }
}
