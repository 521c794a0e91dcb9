/** Limits of the domain: what is beyond is refused, or cannot be read at all. */
export const MAX_NICS_PER_VM = 64;
export const MAX_VFS_PER_HOST = 1024;
export const MAX_PFS_PER_HOST = 64;
