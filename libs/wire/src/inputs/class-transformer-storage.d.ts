/** class-transformer ships this module and no types for it under the path that ESM can import. */
declare module 'class-transformer/cjs/storage.js' {
  export const defaultMetadataStorage: {
    findTypeMetadata(target: Function, property: string): { typeFunction(): Function } | undefined;
  };
}
