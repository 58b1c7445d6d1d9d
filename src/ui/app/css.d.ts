/** A style sheet that esbuild puts into the bundle. */
declare module '*.css'
