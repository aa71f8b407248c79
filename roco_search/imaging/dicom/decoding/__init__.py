"""What decodes compressed frames: the codecs, the heads of codestreams, and a process apart where a codec needs one."""
