import type { Command, Option } from 'commander';

/** What can stand somewhere: some words, any file, or what nobody can list. */
const FILE = '<file>';
const ANYTHING = '<anything>';

interface Place {
  readonly path: string;
  /** Its commands, and its options. */
  readonly commands: readonly string[];
  readonly options: readonly string[];
  /** What each option takes, those of the whole program too. */
  readonly values: ReadonlyMap<string, string>;
  /** What each argument can be. */
  readonly arguments: readonly string[];
}

const kindOf = (name: string, choices: readonly string[] | undefined): string =>
  choices !== undefined ? choices.join(' ') : name === 'file' ? FILE : ANYTHING;

function valuesOf(options: readonly Option[]): [string, string][] {
  return options
    .filter(({ required, optional }) => required || optional)
    .flatMap(({ flags, short, long, argChoices }) => {
      const kind = kindOf(/<(\S+)>/.exec(flags)?.[1] ?? '', argChoices);
      return [short, long].flatMap((name): [string, string][] => (name ? [[name, kind]] : []));
    });
}

function placesOf(command: Command, program: Command, path = ''): readonly Place[] {
  const names = command.commands.map((one) => one.name());
  return [
    {
      path,
      commands: names.length === 0 ? [] : [...names, 'help'],
      options: [...command.options.flatMap(({ long }) => (typeof long === 'string' ? [long] : [])), '--help'],
      values: new Map(valuesOf([...program.options, ...command.options])),
      arguments: command.registeredArguments.map((one) => kindOf(one.name(), one.argChoices)),
    },
    ...command.commands.flatMap((one) => placesOf(one, program, `${path} ${one.name()}`.trim())),
  ];
}

/** A script that completes commands, options, what an option takes, and files; made from the program itself. */
export function completionScript(shell: 'bash' | 'zsh', program: Command): string {
  const places = placesOf(program, program);
  const cases = (lines: readonly string[]): string => lines.map((line) => `    ${line} ;;`).join('\n');
  const functions = `_vfctl_commands() {
  case "$1" in
${cases(places.map(({ path, commands }) => `'${path}') echo '${commands.join(' ')}'`))}
  esac
}
_vfctl_options() {
  case "$1" in
${cases(places.map(({ path, options }) => `'${path}') echo '${options.join(' ')}'`))}
  esac
}
_vfctl_value() {
  case "$1 $2" in
${cases(places.flatMap(({ path, values }) => [...values].map(([option, kind]) => `'${path} ${option}') echo '${kind}'`)))}
  esac
}
_vfctl_argument() {
  case "$1 $2" in
${cases(places.flatMap(({ path, arguments: kinds }) => kinds.map((kind, at) => `'${path} ${at}') echo '${kind}'`)))}
  esac
}`;
  // The path is what is typed before the cursor, as far as there are commands of that name; what follows an option
  // that takes something is no command.
  const choose = `  local path='' count=0 option='' candidates='' word
  for word in "\${typed[@]}"; do
    if [ -n "$option" ]; then option=''; continue; fi
    case "$word" in
      --*=*) continue ;;
      -*) if [ -n "$(_vfctl_value "$path" "$word")" ]; then option="$word"; fi; continue ;;
      help) if [ -n "$(_vfctl_commands "$path")" ]; then continue; fi ;;
    esac
    case " $(_vfctl_commands "$path") " in
      *" $word "*) path="\${path:+$path }$word" ;;
      *) count=$((count + 1)) ;;
    esac
  done
  if [ -n "$option" ]; then candidates=$(_vfctl_value "$path" "$option")
  else case "$current" in
    -*) candidates=$(_vfctl_options "$path") ;;
    *) candidates=$(_vfctl_argument "$path" "$count")
      if [ "$candidates" != '${FILE}' ]; then candidates="$(_vfctl_commands "$path") $candidates $(_vfctl_options "$path")"; fi ;;
  esac; fi
  candidates="\${candidates//${ANYTHING}/}"`;
  return shell === 'bash'
    ? `# Completion of vfctl for bash: source <(vfctl completion bash)
${functions}
_vfctl() {
  local typed=("\${COMP_WORDS[@]:1:COMP_CWORD-1}") current="\${COMP_WORDS[COMP_CWORD]}"
${choose}
  local IFS=$' \\n'
  if [ "$candidates" = '${FILE}' ]; then
    compopt -o filenames 2>/dev/null
    IFS=$'\\n'
    COMPREPLY=($(compgen -f -- "$current"))
  else
    COMPREPLY=($(compgen -W "$candidates" -- "$current"))
  fi
}
complete -F _vfctl vfctl
`
    : `#compdef vfctl
# Completion of vfctl for zsh: source <(vfctl completion zsh)
${functions}
_vfctl() {
  local -a typed
  local current="\${words[CURRENT]}"
  typed=("\${(@)words[2,CURRENT-1]}")
${choose}
  if [ "$candidates" = '${FILE}' ]; then _files; else compadd -- \${=candidates}; fi
}
compdef _vfctl vfctl
`;
}
