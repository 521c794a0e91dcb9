import type { Command } from 'commander';

/** The words after each command: its commands, or its options. */
function words(command: Command, path = ''): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  const options = command.options.flatMap(({ long }) => (typeof long === 'string' ? [long] : []));
  found.set(path, [...command.commands.map((one) => one.name()), ...options, '--help']);
  for (const one of command.commands) {
    for (const [at, list] of words(one, `${path} ${one.name()}`.trim())) found.set(at, list);
  }
  return found;
}

/** A script that completes vfctl's commands and options; made from the program itself. */
export function completionScript(shell: 'bash' | 'zsh', program: Command): string {
  const cases = [...words(program)]
    .map(([path, list]) => `    '${path}') candidates='${list.join(' ')}' ;;`)
    .join('\n');
  // The path is what is typed before the cursor, without options: as far as there are commands of that name.
  const choose = `  local path='' candidates='' word
  for word in "\${typed[@]}"; do
    case "$word" in -*) continue ;; esac
    case " $(_vfctl_words "$path") " in *" $word "*) path="\${path:+$path }$word" ;; esac
  done
  candidates=$(_vfctl_words "$path")`;
  const list = `_vfctl_words() {
  local candidates=''
  case "$1" in
${cases}
  esac
  printf '%s' "$candidates"
}`;
  return shell === 'bash'
    ? `# Completion of vfctl for bash: source <(vfctl completion bash)
${list}
_vfctl() {
  local typed=("\${COMP_WORDS[@]:1:COMP_CWORD-1}")
${choose}
  COMPREPLY=($(compgen -W "$candidates" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _vfctl vfctl
`
    : `#compdef vfctl
# Completion of vfctl for zsh: source <(vfctl completion zsh)
${list}
_vfctl() {
  local -a typed
  typed=("\${(@)words[2,CURRENT-1]}")
${choose}
  compadd -- \${=candidates}
}
compdef _vfctl vfctl
`;
}
